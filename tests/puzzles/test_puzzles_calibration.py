"""An oracle that errs is calibrated on the puzzles, and its scores are corrected by that."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from autointerp.config import CollectConfig, ContextsConfig, ScoreConfig
from autointerp.puzzles.load import FAULTS, Fault
from autointerp.puzzles.plant import SOURCE_ID
from autointerp.records import ScoreWithTrials
from autointerp.score.base import BaseScorer
from autointerp.score.calibration import Calibrated, Calibration, judge_rates
from autointerp.score.on_puzzles import KINDS, ask_puzzles, pose_puzzles
from autointerp.score.scorers.detection import DetectionScorer
from autointerp.score.scorers.fuzzing import FuzzingScorer
from tests.puzzles.built import Built
from tests.puzzles.oracle import Oracle
from tests.puzzles.planted import WINDOW, Planted
from tests.score.world import explanation_of, tools

COLLECT = CollectConfig(context_length=WINDOW, n_top=20, n_fired=100, n_pool_blocks=2000)
CONTEXTS = ContextsConfig(n_explain=10, n_score=40, n_explain_silent=5, n_pool_tiles=2000)
SCORE = ScoreConfig(n_bootstrap=200)
FALSE_YES, FALSE_NO = 0.1, 0.25


@pytest.fixture(scope="module")
def built(planted: Planted) -> Built:
    return Built.build(planted, COLLECT, CONTEXTS, SCORE)


@pytest.fixture(scope="module")
def erring(planted: Planted) -> Oracle:
    return Oracle.of(planted.puzzles, false_yes=FALSE_YES, false_no=FALSE_NO)


@pytest.fixture(scope="module")
def calibrated(built: Built, erring: Oracle) -> Calibrated:
    return calibrate(built, erring)


def calibrate(built: Built, oracle: Oracle) -> Calibrated:
    """How often an oracle errs, asked as `autointerp calibrate` asks."""
    posed = pose_puzzles(built.made, KINDS, seed=0)
    calibration = Calibration(
        judge=oracle.name,
        judged_by={of.task.name: oracle.fingerprint(of.task) for of in posed.groups},
        made_of=posed.made_of,
        cells=tuple(asyncio.run(ask_puzzles(oracle, posed, lambda _: None))),
        left_out=posed.left_out,
    )
    return Calibrated(Path("calibration.json"), calibration, "digest")


def scores(
    built: Built, scorer_class: type[BaseScorer], fault: Fault, oracle: Oracle, calibrated: Calibrated
) -> dict[int, ScoreWithTrials]:
    labels = {f: built.planted.puzzles[f].label(fault).text for f in built.given}
    jobs = [(explanation_of(f, labels[f], SOURCE_ID), given) for f, given in built.given.items()]
    outcomes = asyncio.run(scorer_class(tools(oracle, SCORE, calibrated=calibrated)).score_all(jobs))
    return {f: o for f, o in zip(built.given, outcomes, strict=True) if isinstance(o, ScoreWithTrials)}


def test_a_calibration_finds_how_often_the_oracle_errs(calibrated: Calibrated) -> None:
    calibration = calibrated.calibration
    assert calibration.tasks == ("detection", "fuzzing")
    for task in calibration.tasks:
        rates = judge_rates(calibration.of(task))
        assert rates.counts.true_positive / rates.counts.n_positive == pytest.approx(1 - FALSE_NO, abs=0.03)
        assert rates.counts.true_negative / rates.counts.n_negative == pytest.approx(1 - FALSE_YES, abs=0.03)
        assert rates.spread < 0.08, "it errs alike on all labels"
    assert {of.reason for of in calibration.left_out if of.puzzle == "every-block"} == {
        "there are no silent contexts to judge"
    }
    assert {of.kind for of in calibration.left_out} == {"rare", "dense"}


def test_an_oracle_that_never_errs_is_never_found_wrong(built: Built) -> None:
    calibration = calibrate(built, Oracle.of(built.planted.puzzles)).calibration
    assert all(cell.n_described_yes == cell.n_described and cell.n_other_yes == 0 for cell in calibration.cells)


@pytest.mark.parametrize("scorer_class", [DetectionScorer, FuzzingScorer])
def test_corrected_scores_are_those_of_a_judge_who_does_not_err(
    built: Built, erring: Oracle, calibrated: Calibrated, scorer_class: type[BaseScorer]
) -> None:
    """In the mean over features, whatever is wrong with the labels; of one feature within the interval."""
    off, inside = {}, []
    for fault in FAULTS:
        right = {f: of.score.value for f, of in built.scores(scorer_class, fault).items()}
        details = {f: of.score.detail for f, of in scores(built, scorer_class, fault, erring, calibrated).items()}
        off[fault] = [details[f]["corrected_unclipped"] - value for f, value in right.items()]
        limits = {f: detail["corrected_interval"] for f, detail in details.items()}
        inside += [limits[f]["low"] <= value <= limits[f]["high"] for f, value in right.items()]
        assert all(0 <= detail["corrected"] <= 1 for detail in details.values())
    for fault, of_fault in off.items():
        assert abs(np.mean(of_fault)) < 3 * np.std(of_fault) / len(of_fault) ** 0.5, fault
    assert abs(np.mean(np.concatenate(list(off.values())))) < 0.02
    assert np.mean(inside) > 0.9
