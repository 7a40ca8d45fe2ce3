"""Runs whose labels are chosen among several on the select split, on features whose truth is known."""

from pathlib import Path

import pytest

from autointerp import load_pipeline, open_run, run_pipeline
from autointerp.config import Pipeline
from autointerp.contexts.splits import group_split
from autointerp.errors import NoKeyError
from autointerp.llm import load_prompt
from autointerp.words import label_meaning
from tests.loopback.server import LoopbackServer
from tests.loopback.truth import TruthOracle
from tests.run.planted import FEATURES, LABELLED, Planted
from tests.run.prepared import WithContexts

SELECT = ("[contexts]", "select_share = 0.4", "n_select = 10")
# Knows the word of every other feature; to the others it gives a label that is true of nothing.
PLUG_IN = """
from autointerp.explain.base import BaseExplainer

WORDS = {words!r}

class Knows(BaseExplainer):
    name = "knows"

    async def explain(self, evidence):
        index = evidence.feature_index
        if index % 3 == 0:
            return self.failure(evidence, "Unsure", "it can't be divided")
        return self.explanation(evidence, WORDS[index] if index % 2 else "zebra")
"""
WORDS = tuple(words[0] if words else "" for words in FEATURES)


def pipeline_of(
    planted: Planted, folder: Path, *more: str, name: str = "best", overrides: tuple[str, ...] = ()
) -> Pipeline:
    (folder / "knows.py").write_text(PLUG_IN.format(words=WORDS))
    path = folder / f"{name}.toml"
    path.write_text(planted.toml(name, folder / "runs", *more), encoding="utf-8")
    return load_pipeline(str(path), ('score.scorers=["detection"]', "score.baseline=false", *overrides))


def explainer(folder: Path, *candidates: str) -> tuple[str, ...]:
    names = ", ".join(f'"{name}"' for name in candidates)
    return ("[explain]", 'explainer = "best_of"', f"candidates = [{names}]")


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.mark.slow
def test_without_a_key_the_local_judge_chooses_among_local_labels(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    candidates = explainer(tmp_path, f"{tmp_path / 'knows.py'}:Knows", "keywords")
    pipeline = with_contexts(pipeline_of(planted, tmp_path, *SELECT, *candidates))
    outcome = run_pipeline(pipeline)
    run = open_run(pipeline.run_folder)
    assert outcome.n_failed == 0
    explanations = {e.feature_index: e for e in run.reader.explanations()}
    assert set(explanations) == set(LABELLED)
    n_chosen = 0
    for index, explanation in explanations.items():
        knows, keywords = explanation.detail["candidates"]
        assert (knows["explainer"], keywords["explainer"]) == ("knows", "keywords")
        assert explanation.label != "zebra", "the local judge took a label that is true of nothing"
        assert (explanation.explainer, explanation.model, explanation.cost_usd) == ("best_of", "local", 0.0)
        if index % 3 == 0:
            assert (knows["failure"], explanation.detail["chosen_by"]) == ("Unsure", "there is no other label")
        elif knows["label"] == keywords["label"]:
            assert explanation.detail["chosen_by"] == "there is no other label"
        else:
            n_chosen += 1
            assert knows["n_trials"] == keywords["n_trials"] > 10
            chosen = max(knows["select_balanced_accuracy"], keywords["select_balanced_accuracy"])
            (best,) = {a["select_balanced_accuracy"] for a in (knows, keywords) if a["label"] == explanation.label}
            assert best == chosen
    assert n_chosen >= 3
    again = run_pipeline(pipeline)
    assert again.n_failed == 0
    assert {e.created_at for e in run.reader.explanations()} == {e.created_at for e in explanations.values()}


@pytest.mark.slow
def test_the_score_split_is_that_of_a_run_without_a_select_split(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    plain = with_contexts(pipeline_of(planted, tmp_path, name="plain"))
    apart = with_contexts(pipeline_of(planted, tmp_path, *SELECT, name="apart"))
    readers = {p.name: open_run(p.run_folder).reader for p in (plain, apart)}
    for index in LABELLED:
        graded = {name: reader.contexts(index, split="score") for name, reader in readers.items()}
        assert graded["plain"] == graded["apart"]
        assert len(graded["apart"]) > 10
        assert readers["plain"].contexts(index, split="select") == []
        chosen_on = readers["apart"].contexts(index, split="select")
        assert {c.is_active for c in chosen_on} == {True, False}
        for context in readers["apart"].contexts(index):
            assert context.split == group_split(context.document_id, 0, 0.5, 0.4)


def asked(planted: Planted, folder: Path, url: str, *overrides: str) -> Pipeline:
    model = ['model = "m"', f'base_url = "{url}"', "usd_per_million_input = 1.0", "usd_per_million_output = 2.0"]
    model += ["concurrency = 4", "max_attempts = 1"]
    more = [*SELECT, *explainer(folder, "keywords", f"{folder / 'knows.py'}:Knows", "examples"), "[explain.model]"]
    more += [*model, "[judge]", 'kind = "llm"', "[judge.model]", *model]
    return pipeline_of(planted, folder, *more, name="asked", overrides=overrides)


@pytest.mark.slow
def test_a_judge_that_knows_the_truth_chooses_the_true_label_and_its_price_stands_with_the_label(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    # `examples` gives all features the label of one, which is false of the others.
    oracle = TruthOracle(explain=lambda _: "tiger")
    with LoopbackServer(oracle) as server:
        pipeline = with_contexts(asked(planted, tmp_path, server.url + "/v1", 'features.indices="1,7"'))
        run_pipeline(pipeline, ("corpus", "collect", "contexts", "explain"))
        prompts = [call.user for call in server.calls if call.system == load_prompt("explain_examples").system]
        n_judged = len(server.calls) - len(prompts)
        run_pipeline(pipeline)
    run = open_run(pipeline.run_folder)
    explanations = run.reader.explanations()
    # As much as `knows` writes; `keywords`, which is named first, may write the same in other words.
    assert {e.feature_index: label_meaning(e.label) for e in explanations} == {1: "river", 7: "piano"}
    costs = [e.cost_usd for e in explanations]
    assert len(prompts) == 2
    assert n_judged >= 2 * 2
    (stage,) = [s for s in run.status() if s.stage == "explain"]
    assert stage.cost_usd == pytest.approx(sum(cost for cost in costs if cost is not None))
    for explanation in explanations:
        accounts = {a["explainer"]: a for a in explanation.detail["candidates"]}
        assert (
            accounts["examples"]["select_balanced_accuracy"]
            < 0.7
            < 1.0
            == accounts["knows"]["select_balanced_accuracy"]
        )
        (score,) = run.reader.scores(explanation_ids=[explanation.explanation_id])
        assert score.value == pytest.approx(1.0)
        grading = {t.context_id for t in run.reader.trials(explanation.explanation_id)}
        splits = {c.context_id: c.split for c in run.reader.contexts(explanation.feature_index)}
        assert {splits[context_id] for context_id in grading} == {"score"}
        unseen = [c.text for c in run.reader.contexts(explanation.feature_index) if c.split != "explain"]
        plain = [prompt.replace("<<", "").replace(">>", "") for prompt in prompts]
        assert not any(text in prompt for text in unseen for prompt in plain)


def test_a_judge_s_missing_key_is_told_before_anything_is_collected(planted: Planted, tmp_path: Path) -> None:
    more = [*SELECT, *explainer(tmp_path, "keywords", f"{tmp_path / 'knows.py'}:Knows")]
    more += ["[judge]", 'kind = "llm"', "[judge.model]", 'model = "m"']
    pipeline = pipeline_of(planted, tmp_path, *more)
    with pytest.raises(NoKeyError, match="OPENAI_API_KEY"):
        run_pipeline(pipeline, ("corpus", "collect", "contexts", "explain"))
    assert not pipeline.run_folder.exists()
