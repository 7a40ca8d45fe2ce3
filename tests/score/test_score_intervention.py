"""What intervention can and can't be asked of a subject, told before anything is paid."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from autointerp.config import CoderConfig, SubjectConfig
from autointerp.corpus.pieces import TokenPieces
from autointerp.corpus.special import SpecialTokens
from autointerp.live.subject import LiveSubject
from autointerp.records.live import Effect, TokenChange
from autointerp.score.scorers.intervention import InterventionScorer, mean_changes
from autointerp.subject.source import load_sources

NO_SPECIAL = SpecialTokens((), (), frozenset(), 0, "none are wanted")
Described = tuple[str, str, dict[str, Any]]
SAE: Described = ("standard", "blocks.1.hook_resid_post", {})
BLIND: Described = ("transcoder", "blocks.1.mlp.hook_in", {"apply_b_dec_to_input": False, "d_out": 16})


@pytest.fixture
def live_of(
    saved_model: Callable[..., Path], make_coder: Callable[..., Any], tmp_path: Path
) -> Callable[..., LiveSubject]:
    """Makes a small model of a family with some coders."""

    def make(family: str, coders: Sequence[Described]) -> LiveSubject:
        configs = []
        for number, (architecture, hook, settings) in enumerate(coders):
            folder = tmp_path / f"coder-{number}"
            make_coder(architecture, metadata={"hook_name": hook}, **settings).save_model(folder)
            configs.append(CoderConfig(path=str(folder), name=f"s{number}"))
        sources = load_sources(SubjectConfig(model=str(saved_model(family)), device="cpu"), configs)
        return LiveSubject(sources, NO_SPECIAL, TokenPieces(sources.subject.tokenizer), 64, n_tokens_at_once=64)

    return make


def test_a_causal_model_with_a_coder_that_says_where_it_writes_is_fit(live_of: Callable[..., LiveSubject]) -> None:
    assert InterventionScorer.subject_problem(live_of("gpt2", [SAE])) is None


def test_an_encoder_has_no_next_token(live_of: Callable[..., LiveSubject]) -> None:
    problem = InterventionScorer.subject_problem(live_of("bert", [SAE]))
    assert problem is not None
    assert problem.startswith("asks what the subject expects next, and a model of type bert has no")


def test_a_run_whose_every_coder_can_t_be_edited_is_refused_and_one_with_some_is_not(
    live_of: Callable[..., LiveSubject],
) -> None:
    problem = InterventionScorer.subject_problem(live_of("gpt2", [BLIND]))
    assert problem is not None
    assert "does not say at which hook point it writes" in problem


def test_a_run_with_a_coder_that_can_be_edited_goes_on(live_of: Callable[..., LiveSubject]) -> None:
    assert InterventionScorer.subject_problem(live_of("gpt2", [BLIND, SAE])) is None


def test_what_most_groups_promote_comes_first() -> None:
    lists = [
        Effect((TokenChange(1, "a", 1.0), TokenChange(2, "b", 0.5)), (), 0.1).promoted,
        (TokenChange(2, "b", 1.5), TokenChange(3, "c", 9.0)),
    ]
    assert list(mean_changes(lists).items()) == [("b", 1.0), ("c", 9.0), ("a", 1.0)]
