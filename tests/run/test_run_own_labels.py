"""A label of somebody's own: scored as the run's own labels are, kept beside the run, and a label like any other."""

import shutil
from pathlib import Path

import pytest

import autointerp
from autointerp import Client
from autointerp.errors import FilterError, NoteError, UnknownNoteError
from autointerp.library.trials import TrialChoice
from tests.run.planted import DEAD


@pytest.fixture(scope="module")
def client(planted_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Client:
    """Of a copy of the run, which nobody else writes notes beside."""
    copy = tmp_path_factory.mktemp("own") / "runs/demo"
    shutil.copytree(planted_runs / "runs/demo", copy, ignore=shutil.ignore_patterns("notes.sqlite*"))
    return autointerp.open(copy)


def test_the_text_of_the_runs_own_label_gets_its_scores_from_the_same_trials(client: Client) -> None:
    store = client.run.reader.path.read_bytes()
    feature = client.features.get(1)
    own = feature.write_label(" river ", author="Ada")
    assert client.run.reader.path.read_bytes() == store
    first, second, *nulls = feature.view().labels
    assert (first.explanation.label, second.explanation.label) == ("river", "river")
    assert (second.explanation.explainer, second.explanation.model) == ("own", "Ada")
    assert all(of.explanation.is_baseline for of in nulls)
    assert [(s.scorer, s.value, s.ci_low) for s in second.scores] == [
        (s.scorer, s.value, s.ci_low) for s in first.scores
    ]
    tried = {of.score.scorer: of for of in feature.trials() if of.explanation.explainer == "own"}
    of_run = {of.score.scorer: of for of in feature.trials() if of.explanation == first.explanation}
    assert set(tried) == set(of_run)
    for scorer, trials in tried.items():
        assert [(t.asked, t.trial.truth, t.trial.verdict) for t in trials.trials] == [
            (t.asked, t.trial.truth, t.trial.verdict) for t in of_run[scorer].trials
        ]
    assert client.feature_of_label(own.explanation_id) == feature
    feature.vote(1, "Bob", own.explanation_id)
    client.delete_label(own.explanation_id)
    assert (feature.notes().votes, feature.notes().labels) == ((), ())
    with pytest.raises(UnknownNoteError, match="nobody here wrote a label"):
        client.delete_label(own.explanation_id)


def test_a_wrong_label_scores_low_and_a_rule_is_carried_out(client: Client) -> None:
    feature = client.features.get(1)
    wrong, rule = feature.write_label("piano"), feature.write_label('the word "river"')
    value = {name: {s.scorer: s.value for s in of.scores} for name, of in (("wrong", wrong), ("rule", rule))}
    assert value["wrong"]["detection"] < 0.6 < 0.99 < value["rule"]["detection"]
    again = feature.write_label("piano")
    assert [of.label for of in feature.notes().labels] == ['the word "river"', "piano"]
    assert again.scores == wrong.scores
    with pytest.raises(FilterError, match="scorer"):
        feature.trials(TrialChoice("none"))
    for of in (again, rule):
        client.delete_label(of.explanation_id)


def test_a_feature_without_contexts_keeps_the_label_and_says_why_it_has_no_score(client: Client) -> None:
    own = client.features.get(DEAD).write_label("nothing")
    assert (own.scores, [of.error_type for of in own.failures]) == ((), ["TooFewContexts"])
    assert [of.explanation.label for of in client.features.get(DEAD).view().labels] == ["nothing"]
    client.delete_label(own.explanation_id)


@pytest.mark.parametrize("label", ["", "a\nb", "a" * 501, "\x1b[2J"])
def test_a_label_that_is_none_is_refused_before_anything_is_scored(client: Client, label: str) -> None:
    with pytest.raises(NoteError, match="the label"):
        client.features.get(1).write_label(label)
