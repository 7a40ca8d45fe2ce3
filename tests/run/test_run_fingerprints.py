"""What decides a run's contexts, and what does not."""

import pytest

from autointerp import load_pipeline
from autointerp.errors import SubjectError
from autointerp.run.fingerprints import identity_settings


@pytest.mark.parametrize("key", ["corpus.token_column"])
def test_a_key_that_came_later_changes_no_run_from_before(key: str) -> None:
    as_before = identity_settings(load_pipeline("demo"))
    assert key not in as_before
    kinds = ("corpus.kind=jsonl", "corpus.path=texts.jsonl")
    assert identity_settings(load_pipeline("demo", (*kinds, f"{key}=ids")))[key] == "ids"


@pytest.mark.parametrize("override", ["explain.n_keywords=3", "score.n_baseline=1", "collect.batch_size=1", "runs=x"])
def test_who_labels_and_how_it_is_run_change_no_contexts(override: str) -> None:
    assert identity_settings(load_pipeline("demo", (override,))) == identity_settings(load_pipeline("demo"))


@pytest.mark.parametrize("override", ["seed=1", "corpus.n_tokens=1", "contexts.n_score=3", "collect.n_top=1"])
def test_what_is_read_collected_and_chosen_makes_another_run(override: str) -> None:
    assert identity_settings(load_pipeline("demo", (override,))) != identity_settings(load_pipeline("demo"))


@pytest.mark.parametrize("key", ["subject.model", "embedder.model"])
def test_a_packaged_model_that_does_not_exist_is_told_by_its_key(key: str) -> None:
    with pytest.raises(SubjectError, match=f"set {key} to packaged:"):
        identity_settings(load_pipeline("demo", (f"{key}=packaged:nope",)))
