"""Trials that a person answers, to know what a run's scores are worth without trusting its judge.

1. Trials of detection and fuzzing are drawn at random from all true labels' answered ones, as many of either class, and
   written to a CSV with label and text, for a spreadsheet: neither what the judge said stands in it, nor where the
   feature fires.
2. A person writes yes or no into the column `answer`, or leaves it empty.
3. Of each scorer the mean over the run is told: as the judge has it, and prediction-powered by the answers
   (`score.correction`); and how often the judge was right on them.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autointerp.contexts.render import marked_text, plain_text
from autointerp.errors import CalibrationError, file_error
from autointerp.export.csv import no_formula
from autointerp.identity import hash_key
from autointerp.library.run import Run
from autointerp.records import Context, Explanation, Trial
from autointerp.score import metrics
from autointerp.score.clusters import numbered
from autointerp.score.confusion import confusion
from autointerp.score.correction import Judged, prediction_powered
from autointerp.score.metrics import Estimate
from autointerp.score.on_puzzles import SCORERS
from autointerp.whole_file import whole_file

COLUMNS = ("explanation_id", "scorer", "context_id", "label", "text", "answer")
_SAID = {"yes": True, "y": True, "true": True, "1": True, "no": False, "n": False, "false": False, "0": False}
_FEATURES_PER_READ = 256

_Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class AnsweredScore:
    """What a scorer's values come to in the mean over a run, by a judge and by a person.

    Attributes:
        scorer: The scorer.
        judge: The judge.
        n_trials: Its answered trials of true labels.
        n_known: Of these, that a person answered.
        by_judge: Balanced accuracy of the judge's verdicts.
        by_answers: The same of what is right, prediction-powered; None where too little is known.
        why_none: Why there is none.
        sensitivity: Share of the trials that a person said yes to, of which the judge did too; None of none.
        specificity: The same of no.
    """

    scorer: str
    judge: str
    n_trials: int
    n_known: int
    by_judge: Estimate | None
    by_answers: Estimate | None
    why_none: str | None
    sensitivity: Estimate | None
    specificity: Estimate | None


@dataclass(frozen=True, slots=True)
class _Put:
    """A trial with what was shown."""

    explanation: Explanation
    trial: Trial
    context: Context

    @property
    def key(self) -> _Key:
        return (self.trial.explanation_id, self.trial.scorer, self.trial.context_id)


def draw_questions(run: Run, n: int, file: Path, seed: int = 0) -> int:
    """Write trials for a person to answer.

    Args:
        run: The run.
        n: Trials of each scorer, half of either class; fewer where there are fewer.
        file: A CSV, which must not be there yet: answers in it would be lost.
        seed: Of the draw.

    Returns:
        Trials written.

    Raises:
        CalibrationError: If the file is there or can't be written, or the run has no such trials.
    """
    if file.exists():
        raise CalibrationError(
            f"{file} is there already", "name another file, or leave --draw away to read its answers"
        )
    drawn = []
    puts = list(_each(run))
    for scorer in SCORERS:
        for truth in (True, False):
            of_class = [put for put in puts if (put.trial.scorer, put.trial.truth) == (scorer, truth)]
            drawn += sorted(of_class, key=lambda put: hash_key(seed, "answers", *put.key))[: n // 2]
    if not drawn:
        raise CalibrationError("the run has no answered trials of detection or fuzzing", "score its labels first")
    drawn.sort(key=lambda put: (put.trial.scorer, hash_key(seed, "order", *put.key)))
    try:
        with whole_file(file) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as opened:
            writer = csv.writer(opened)
            writer.writerow(COLUMNS)
            writer.writerows(
                [*put.key, no_formula(put.explanation.label), no_formula(_shown(put)), ""] for put in drawn
            )
    except OSError as error:
        raise file_error(error, file, CalibrationError) from error
    return len(drawn)


def _shown(put: _Put) -> str:
    return marked_text(put.context, put.trial.marked) if put.trial.marked else plain_text(put.context)


def read_answers(file: Path) -> dict[_Key, bool]:
    """A person's answers by explanation, scorer and context; rows without one are left out.

    Raises:
        CalibrationError: If the file can't be read, lacks a column, or says what is no answer, or two things of one.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            rows = list(csv.DictReader(opened))
    except (UnicodeDecodeError, csv.Error) as error:
        raise CalibrationError(f"{file} is no CSV in UTF-8 ({error})", "save it as that") from error
    except OSError as error:
        raise file_error(error, file, CalibrationError) from error
    needed = ("explanation_id", "scorer", "context_id", "answer")
    if missing := [name for name in needed if rows and name not in rows[0]]:
        raise CalibrationError(f"{file} has no column {missing[0]!r}", f"keep the columns {', '.join(needed)}")
    answers: dict[_Key, bool] = {}
    for number, row in enumerate(rows, start=2):
        said = (row["answer"] or "").strip().lower()
        if not said:
            continue
        if said not in _SAID:
            raise CalibrationError(f"{file}, row {number}: the answer {said!r} is neither yes nor no", "mend it")
        key = (row["explanation_id"] or "", row["scorer"] or "", row["context_id"] or "")
        if answers.setdefault(key, _SAID[said]) != _SAID[said]:
            raise CalibrationError(f"{file}, row {number}: an earlier row answers the same otherwise", "take one away")
    if not answers:
        raise CalibrationError(f"{file} has no answers", "write yes or no into its column `answer`")
    return answers


def score_answers(run: Run, answers: Mapping[_Key, bool]) -> list[AnsweredScore]:
    """What each scorer comes to in the mean over the run.

    Args:
        run: The run.
        answers: By explanation, scorer and context: does the label describe what is shown?

    Raises:
        CalibrationError: If one is of no answered trial of the run.
    """
    puts = list(_each(run))
    unknown = answers.keys() - {put.key for put in puts}
    if unknown:
        explanation, scorer, context = min(unknown)
        raise CalibrationError(
            f"{len(unknown)} of {len(answers)} answers are of no answered trial of a current label of this run, for"
            f" example {scorer} of explanation {explanation} on context {context}",
            "draw trials anew by --draw: the run was scored anew since, or is another",
        )
    return [_of_scorer(of, answers) for scorer in SCORERS if (of := [p for p in puts if p.trial.scorer == scorer])]


def _of_scorer(puts: Sequence[_Put], answers: Mapping[_Key, bool]) -> AnsweredScore:
    firing, verdict = (
        np.array([getattr(put.trial, name) for put in puts], dtype=bool) for name in ("truth", "verdict")
    )
    known = np.array([put.key in answers for put in puts], dtype=bool)
    right = np.array([answers.get(put.key, False) for put in puts], dtype=bool)
    cluster = numbered(put.context.group_id for put in puts)
    powered = prediction_powered(Judged(firing, verdict, known, right, cluster))
    by_person = confusion(right[known], verdict[known], cluster[known])
    return AnsweredScore(
        scorer=puts[0].trial.scorer,
        judge=puts[0].trial.judge,
        n_trials=len(puts),
        n_known=int(known.sum()),
        by_judge=metrics.balanced_accuracy(confusion(firing, verdict, cluster)),
        by_answers=None if isinstance(powered, str) else powered,
        why_none=powered if isinstance(powered, str) else None,
        sensitivity=metrics.sensitivity(by_person),
        specificity=metrics.specificity(by_person),
    )


def _each(run: Run) -> Iterator[_Put]:
    """The answered trials of all true labels, with what was shown."""
    reader = run.reader
    with reader.session():
        scorers = [name for name in SCORERS if name in reader.scorers()]
        by_source: dict[str, dict[int, list[Explanation]]] = {}
        for explanation in reader.explanations():
            if not explanation.is_baseline:
                by_source.setdefault(explanation.source_id, {}).setdefault(explanation.feature_index, []).append(
                    explanation
                )
        for source, labels in by_source.items():
            features = sorted(labels)
            for start in range(0, len(features), _FEATURES_PER_READ):
                for of in reader.feature_contexts(features[start : start + _FEATURES_PER_READ], source):
                    contexts = {context.context_id: context for context in of.contexts}
                    for explanation in labels[of.feature_index]:
                        for scorer in scorers:
                            for trial in reader.trials(explanation.explanation_id, scorer):
                                if trial.verdict is not None and trial.context_id in contexts:
                                    yield _Put(explanation, trial, contexts[trial.context_id])
