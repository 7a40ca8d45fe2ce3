"""Two runs, explainers or judges held against each other: what is paired, what is refused, what is told."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autointerp import compare_runs, judge_agreement
from autointerp.errors import CompareError
from autointerp.records import Context, Explanation, Score, ScoreWithTrials, Trial
from autointerp.store.writer import Writer
from tests.store.making import make

N_FEATURES = 12


def asked(feature: int) -> list[Context]:
    """Twenty contexts of a feature, half of them silent, each of a document of its own."""
    return [make.context(feature, place, "quantile" if place < 10 else "silent_peak", "score") for place in range(20)]


def judged(label: Explanation, n_wrong: int, fingerprint: str = "s1", judge: str = "local") -> ScoreWithTrials:
    """A score by detection, of which so many firing trials are wrong."""
    contexts = asked(label.feature_index)
    trials = tuple(
        Trial(label.explanation_id, "detection", judge, c.context_id, place < 10, n_wrong <= place < 10, None)
        for place, c in enumerate(contexts)
    )
    value = 1 - n_wrong / 20
    score = Score(
        explanation_id=label.explanation_id,
        scorer="detection",
        judge=judge,
        metric="balanced accuracy",
        value=value,
        ci_low=max(0.0, value - 0.2),
        ci_high=min(1.0, value + 0.2),
        n_trials=20,
        n_unanswered=0,
        detail={},
        fingerprint=fingerprint,
    )
    return ScoreWithTrials(score, trials)


def write(
    folder: Path, sets: dict[str, Sequence[int]], source: str | None = None, corpus: str = "docstrings"
) -> Writer:
    """A run with a set of labels for each fingerprint: how many trials of each feature are wrong."""
    writer = Writer(folder)
    record = replace(make.source(N_FEATURES), corpus=corpus)
    writer.add_source(record)
    writer.add_features([make.feature(feature) for feature in range(N_FEATURES)])
    for fingerprint, wrong in sets.items():
        labels = [
            replace(make.explanation(feature, f"{fingerprint} of {feature}", fingerprint), explainer=fingerprint[:2])
            for feature in range(len(wrong))
        ]
        writer.add_explanations(labels)
        writer.add_scores([judged(label, n) for label, n in zip(labels, wrong, strict=True)], [])
        writer.set_stage("explain", fingerprint, "done")
    for feature in range(N_FEATURES):
        writer.add_contexts([replace(make.contexts(feature), contexts=tuple(asked(feature)))], "c1")
    writer.set_stage("contexts", "c1", "done")
    return writer


GOOD, BAD = [0] * 6 + [1] * 6, [9] * 6 + [1] * 5 + [0]


def test_two_explainers_of_one_run_are_paired_on_features_and_trials(tmp_path: Path) -> None:
    write(tmp_path, {"bad-1": BAD, "good-1": GOOD})
    found = compare_runs(tmp_path, explainer=("ba", "go"))
    assert (found.first.labels.explainer, found.second.labels.explainer) == ("ba", "go")
    assert found.differs == ("explainer: ba and go",)
    assert found.warnings == ()
    (of,) = found.scorers
    assert of.is_paired
    assert (of.n_by_trials, of.overall.n_first) == (12, 12)
    assert of.overall.mean.value == pytest.approx((6 * 9 / 20 - 1 / 20) / 12)
    assert [f.feature_index for f in of.better] == [0, 1, 2, 3, 4, 5]
    assert of.worse == ()
    assert of.better[0].first_label == "bad-1 of 0"
    assert of.better[0].q_value == pytest.approx(12 / 6 / 2**9)


def test_turned_round_what_was_better_is_worse(tmp_path: Path) -> None:
    write(tmp_path, {"bad-1": BAD, "good-1": GOOD})
    (of,) = compare_runs(tmp_path, explainer=("go", "ba")).scorers
    assert [f.feature_index for f in of.worse] == [0, 1, 2, 3, 4, 5]
    assert of.better == ()


def test_one_name_is_compared_with_what_is_current(tmp_path: Path) -> None:
    write(tmp_path, {"bad-1": BAD, "good-1": GOOD})
    found = compare_runs(tmp_path, explainer="ba")
    assert (found.first.labels.explainer, found.second.labels.explainer) == ("go", "ba")


def test_labels_of_earlier_settings_are_named_by_their_fingerprint(tmp_path: Path) -> None:
    write(tmp_path, {"good-1": GOOD, "good-2": BAD, "good-3": GOOD})
    found = compare_runs(tmp_path, explainer=("good-2", "good-1"))
    assert found.differs == ("labels: good-2 and good-1",)
    # By their explainer's name those that are current are meant.
    assert compare_runs(tmp_path, explainer=("good-2", "go")).second.labels.fingerprint == "good-3"


def test_two_judges_of_the_same_labels_are_paired(tmp_path: Path) -> None:
    writer = write(tmp_path, {"good-1": GOOD})
    labels = [make.explanation(feature, "", "good-1") for feature in range(N_FEATURES)]
    writer.add_scores([judged(of, n, "s2", "strict-1") for of, n in zip(labels, BAD, strict=True)], [])
    writer.set_stage("score:detection", "s2", "done")
    found = compare_runs(tmp_path, judge=("local", "strict-1"))
    assert found.differs == ("judge of detection: local and strict-1",)
    (of,) = found.scorers
    assert (of.first_judge, of.second_judge, of.n_by_trials) == ("local", "strict-1", 12)
    assert len(of.worse) == 6
    # Of one name what counts now comes first.
    assert compare_runs(tmp_path, judge="local").scorers[0].first_judge == "strict-1"


def test_two_runs_of_the_same_text_are_paired_on_trials(tmp_path: Path) -> None:
    write(tmp_path / "one", {"bad-1": BAD})
    write(tmp_path / "two", {"good-1": GOOD[:8]})
    (of,) = compare_runs(tmp_path / "one", tmp_path / "two").scorers
    assert (of.overall.n_first, of.n_by_trials) == (8, 8)


def test_of_other_text_the_features_are_paired_and_that_is_told(tmp_path: Path) -> None:
    write(tmp_path / "one", {"bad-1": BAD})
    write(tmp_path / "two", {"good-1": GOOD}, corpus="text:elsewhere")
    found = compare_runs(tmp_path / "one", tmp_path / "two")
    assert found.warnings == ("the texts are not the same: features are paired, their trials are not",)
    (of,) = found.scorers
    assert (of.overall.n_first, of.n_by_trials) == (12, 0)


def test_runs_without_a_feature_in_common_are_two_samples(tmp_path: Path) -> None:
    write(tmp_path / "one", {"bad-1": BAD[:5]})
    writer = write(tmp_path / "two", {"good-1": []})
    labels = [make.explanation(feature, "", "good-1") for feature in range(7, 12)]
    writer.add_explanations(labels)
    writer.add_scores([judged(label, 0) for label in labels], [])
    found = compare_runs(tmp_path / "one", tmp_path / "two")
    (of,) = found.scorers
    assert found.warnings[-1] == ("no feature is scored in both by detection: two samples are compared, not pairs")
    assert not of.is_paired
    assert of.features == ()
    assert of.overall.won.value == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "both sides are .*name another run, two explainers .*there are ba bad-1, of earlier settings, go good-1"),
        ({"explainer": ("ba", "ba")}, "both sides are"),
        ({"explainer": "gpt"}, "there is no label by 'gpt' in .*holds ba bad-1, of earlier settings, go good-1"),
        ({"explainer": ("a", "b", "c")}, "3 explainers are named"),
        ({"judge": "nobody"}, "no score of the labels by go by the judge 'nobody' .*holds detection by local s1"),
        ({"explainer": "ba", "scorers": ["fuzzing"]}, "no scorer of both 'fuzzing'.*scorer of boths are detection"),
    ],
)
def test_what_cannot_be_compared_is_told_in_one_line(tmp_path: Path, options: dict[str, Any], told: str) -> None:
    write(tmp_path, {"bad-1": BAD, "good-1": GOOD})
    with pytest.raises(CompareError, match=told):
        compare_runs(tmp_path, **options)


def test_a_run_without_labels_or_scores_says_what_to_do(tmp_path: Path) -> None:
    write(tmp_path / "none", {})
    write(tmp_path / "good", {"good-1": GOOD})
    with pytest.raises(CompareError, match=r"there is no label in .*run `autointerp explain`"):
        compare_runs(tmp_path / "good", tmp_path / "none")
    writer = write(tmp_path / "unscored", {"bare-1": []})
    writer.add_explanations([make.explanation(0, "bare", "bare-1")])
    with pytest.raises(CompareError, match=r"no scorer has scored both .*none.*score both by the same scorers"):
        compare_runs(tmp_path / "good", tmp_path / "unscored")


def test_two_judges_of_the_same_labels_agree_as_far_as_their_verdicts_do(tmp_path: Path) -> None:
    writer = write(tmp_path, {"good-1": GOOD})
    labels = [make.explanation(feature, "", "good-1") for feature in range(N_FEATURES)]
    writer.add_scores([judged(of, n, "s2", "strict-1") for of, n in zip(labels, BAD, strict=True)], [])
    found = judge_agreement(tmp_path, judge=("local", "strict-1"))
    (of,) = found.scorers
    assert (of.first_judge, of.second_judge, of.n_features, of.n_same_trials) == ("local", "strict-1", 12, 12)
    assert of.verdicts is not None
    assert of.verdicts.n_trials == 240
    # Six features are agreed on but for nine of twenty trials, and one but for one.
    assert of.verdicts.share.value == pytest.approx(1 - (6 * 9 + 1) / 240)
    assert of.scores.value is not None
    assert of.scores.value < 0.1


def test_other_labels_of_a_feature_say_nothing_of_how_judges_agree(tmp_path: Path) -> None:
    write(tmp_path, {"bad-1": BAD, "good-1": GOOD})
    with pytest.raises(CompareError, match=r"no feature has the same label in .*judge the same labels twice"):
        judge_agreement(tmp_path, explainer=("ba", "go"))


def test_a_run_judged_twice_under_two_names_agrees_with_itself(tmp_path: Path) -> None:
    write(tmp_path / "one", {"good-1": GOOD})
    write(tmp_path / "two", {"good-1": GOOD})
    (of,) = judge_agreement(tmp_path / "one", tmp_path / "two").scorers
    assert of.verdicts is not None
    assert (of.verdicts.share.value, of.verdicts.kappa.value, of.scores.value) == (1, 1, 1)


def test_trials_that_either_left_unanswered_are_counted_and_agree_on_nothing(tmp_path: Path) -> None:
    writer = write(tmp_path, {"good-1": GOOD})
    labels = [make.explanation(feature, "", "good-1") for feature in range(N_FEATURES)]
    for label in labels:
        whole = judged(label, 0, "s2", "silent-1")
        first = replace(whole.trials[0], verdict=None, unanswered="refused")
        writer.add_scores([replace(whole, trials=(first, *whole.trials[1:]))], [])
    (of,) = judge_agreement(tmp_path, judge=("local", "silent-1")).scorers
    assert of.n_unanswered == 12
    assert of.verdicts is not None
    assert of.verdicts.n_trials == 12 * 19


def test_a_feature_that_shares_no_answered_trial_counts_among_the_unanswered_only(tmp_path: Path) -> None:
    writer = write(tmp_path, {"good-1": GOOD})
    for feature in range(N_FEATURES):
        whole = judged(make.explanation(feature, "", "good-1"), 0, "s2", "silent-1")
        if feature == 0:
            whole = replace(whole, trials=tuple(replace(t, verdict=None, unanswered="refused") for t in whole.trials))
        writer.add_scores([whole], [])
    (of,) = judge_agreement(tmp_path, judge=("local", "silent-1")).scorers
    assert of.verdicts is not None
    assert (of.n_features, of.verdicts.n_features, of.verdicts.n_trials) == (12, 11, 11 * 20)
    assert of.n_unanswered == 20


def test_a_null_of_the_run_is_a_side_like_any_other(tmp_path: Path) -> None:
    writer = write(tmp_path, {"good-1": GOOD})
    shuffled = [make.explanation(feature, "another's", "b1", label_from=feature + 1) for feature in range(6)]
    writer.add_explanations(shuffled)
    writer.add_scores([judged(label, 9) for label in shuffled], [])
    found = compare_runs(tmp_path, explainer="shuffled")
    assert found.second.labels.is_baseline
    assert [f.feature_index for f in found.scorers[0].worse] == [0, 1, 2, 3, 4, 5]


def test_a_feature_that_two_scorers_drew_one_context_for_is_paired_once(tmp_path: Path) -> None:
    writer = write(tmp_path, {"bad-1": BAD, "good-1": GOOD})
    for feature in range(2):  # the same contexts once more, as another scorer's draw
        writer.add_contexts([replace(make.contexts(feature), contexts=tuple(asked(feature)))], "c0")
    (of,) = compare_runs(tmp_path, explainer=("ba", "go")).scorers
    assert of.n_by_trials == 12
