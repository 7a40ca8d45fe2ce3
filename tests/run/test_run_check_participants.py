"""What a pipeline's explainer and scorers lack is told before any work."""

from pathlib import Path

import pytest

from autointerp.config import Pipeline
from autointerp.errors import NoKeyError, PipelineError, PromptError
from autointerp.run.check_participants import check_keys, check_participants

MODEL = {"model": "m", "base_url": "http://127.0.0.1:9/v1", "api_key_env": "NO_SUCH_KEY"}

SCORER = """
from pathlib import Path

from autointerp.score.scorers.detection import DetectionScorer
from autointerp.score.judge import Task


class Mine(DetectionScorer):
    name = "{0}"
    task = Task("{0}", "missing.txt", Path(__file__))


class MineOneByOne(DetectionScorer):
    name = "one_by_one"
    task = Task("one_by_one", "judge_detection", Path(__file__), yes_no="missing_too.txt")
"""
NAMED = "scorer of {}.py:Mine"


def pipeline(**tables: object) -> Pipeline:
    return Pipeline.model_validate({"name": "x", "coder": {"path": "somewhere"}, **tables})


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"explain": {"explainer": "keyword"}}, "there is no explainer 'keyword': one of keywords, rules, examples"),
        ({"score": {"scorers": ["detektion"]}}, "there is no scorer 'detektion': one of detection, fuzzing"),
        ({"score": {"scorers": ["no_such_file.py:Mine"]}}, "there is no file no_such_file.py for a scorer"),
        ({"explain": {"explainer": "examples"}}, r"asks a language model: add a table \[explain.model\]"),
        (
            {"explain": {"explainer": "best_of", "candidates": ["keywords", "examples"]}},
            r"asks a language model: add a table \[explain.model\]",
        ),
        (
            {"explain": {"explainer": "best_of", "candidates": ["keywords", "rules"]}},
            "contexts set apart, and contexts.select_share is 0: set it, for example to 0.3",
        ),
        ({"explain": {"explainer": "best_of", "candidates": ["keywords", "outside"]}}, "name it as explain.labels"),
        ({"explain": {"explainer": "best_of", "candidates": ["keywords", "best_of"]}}, "itself a best_of"),
        (
            {"explain": {"explainer": "best_of", "candidates": ["rules", "keywords", "rules"]}},
            "explain.candidates holds 'rules' twice: name each explainer once",
        ),
        ({"explain": {"explainer": "outside"}}, "reads labels from a file: name it as explain.labels"),
        ({"score": {"scorers": ["recall", "detection", "recall"]}}, "two of score.scorers are called 'recall'"),
        (
            {"score": {"scorers": [NAMED.format("detection"), "detection"]}},
            "are called 'detection': take one away",
        ),
        (
            {"score": {"scorers": [NAMED.format("label")]}},
            "can't be called 'label': columns are named after it",
        ),
        ({"score": {"scorers": [NAMED.format("a b")]}}, "a scorer can't be called 'a b'"),
        (
            {"score": {"scorers": [NAMED.format("lone")]}, "judge": {"kind": "llm", "model": MODEL}},
            "the task 'lone' has no readable prompt file .*missing.txt",
        ),
        (
            {
                "score": {"scorers": ["scorer of lone.py:MineOneByOne"]},
                "judge": {"kind": "llm", "model": MODEL, "answers": "chances"},
            },
            "the task 'one_by_one' has no readable prompt file .*missing_too.txt",
        ),
        ({"explain": {"labels": "labels.csv"}}, "explain.labels names a file, and the explainer 'keywords' reads none"),
    ],
)
def test_what_is_lacking_is_told_in_one_line(
    tables: dict[str, object], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("detection", "label", "a b", "lone"):
        Path(NAMED.format(name).partition(":")[0]).write_text(SCORER.format(name), encoding="utf-8")
    with pytest.raises((PipelineError, PromptError), match=said) as caught:
        check_participants(pipeline(**tables))
    assert "\n" not in str(caught.value)


def test_the_defaults_lack_nothing() -> None:
    check_participants(pipeline())
    check_keys(pipeline(), explains=True, scores=True)


def test_a_key_is_wanted_only_by_who_asks_a_model(tmp_path: Path) -> None:
    judged = {"judge": {"kind": "llm", "model": MODEL}}
    check_keys(pipeline(**judged, score={"scorers": ["embedding"]}), explains=True, scores=True)
    check_keys(pipeline(**judged), explains=True, scores=False)
    with pytest.raises(NoKeyError):
        check_keys(pipeline(**judged), explains=True, scores=True)
    explained = {"explain": {"explainer": "examples", "model": MODEL}}
    with pytest.raises(NoKeyError):
        check_keys(pipeline(**explained), explains=True, scores=False)
    chosen = {"explain": {"explainer": "best_of", "candidates": ["keywords", "rules"]}}
    with pytest.raises(NoKeyError):
        check_keys(pipeline(**judged, **chosen), explains=True, scores=False)
