"""The whole pipeline with the scorer that runs the subject on texts made from the label."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from autointerp import load_pipeline, open_run, run_pipeline
from autointerp.config import Pipeline
from autointerp.errors import SubjectError
from autointerp.llm import load_prompt
from autointerp.run.dry_run import plan_cost
from autointerp.run.pipeline import Stage
from autointerp.words import label_meaning
from tests.command import complaint, printed
from tests.loopback.server import Call, LoopbackServer, Outcome, Say
from tests.loopback.truth import shown_contexts
from tests.run.planted import EVERYWHERE, FEATURES, LABELLED, Planted
from tests.run.prepared import WithContexts
from tests.run.test_run_planted import KEY, knowing

pytestmark = pytest.mark.slow
STAGES: tuple[Stage, ...] = ("explain", "score", "index")
MODEL = (
    'provider = "openai"',
    'model = "writes"',
    "usd_per_million_input = 1.0",
    "usd_per_million_output = 2.0",
    "max_attempts = 1",
)


def pipeline_of(planted: Planted, folder: Path, *more: str, name: str = "made") -> Pipeline:
    path = folder / f"{name}.toml"
    lines = ("[score]", 'scorers = ["generation"]', *more)
    path.write_text(planted.toml(name, folder / "runs", *lines), encoding="utf-8")
    return load_pipeline(str(path))


def judged_by(url: str) -> tuple[str, ...]:
    return ("[judge]", 'kind = "llm"', "[judge.model]", f'base_url = "{url}"', *MODEL)


class Rewrites:
    """Rewrites texts as the label asks: its word goes into the one, and another word into the other."""

    def __init__(self, *, refuses: Sequence[str] = (), answer: str | None = None) -> None:
        self.refuses = refuses
        self.answer = answer

    def reply(self, call: Call) -> Outcome:
        if call.system != load_prompt("generate_examples").system:
            return knowing().reply(call)
        label = label_meaning(json.loads(re.findall(r"^Label: (.*)$", call.user, re.MULTILINE)[0]))
        if label in self.refuses:
            return Say("I can't help with that.", stop="refusal")
        if self.answer is not None:
            return Say(self.answer)
        pairs = [
            {"number": of.number, "fits": f"{of.text} {label}", "misses": f"{of.text} well"}
            for of in shown_contexts(call.user)
        ]
        return Say(json.dumps({"texts": pairs}))


def test_true_labels_make_the_subject_fire_and_shuffled_ones_do_not(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = with_contexts(pipeline_of(planted, tmp_path))
    outcome = run_pipeline(pipeline, STAGES)
    folder = outcome.folder.path
    run = open_run(folder)
    (summary,) = run.score_summary()
    assert summary.judge == "subject"
    true, shuffled = summary.rows[:2]
    assert (true.kind, true.median) == ("true", 1.0)
    assert shuffled.kind == "shuffled"
    assert shuffled.mean == pytest.approx(0.5, abs=0.05)
    by_feature = {e.feature_index: e for e in run.reader.explanations()}
    (score,) = run.reader.scores(explanation_ids=[by_feature[LABELLED[0]].explanation_id])
    assert (score.metric, score.n_trials, score.n_unanswered) == ("AUROC", 20, 0)
    assert score.detail["writer"] == "local"
    assert score.detail["sensitivity"] == 1.0
    trials = run.reader.trials(score.explanation_id, "generation")
    kept = {c.context_id: c for c in run.reader.contexts(LABELLED[0], kind="generated")}
    for trial in trials:
        context = kept[trial.context_id]
        fired = [t.strip() for t, a in zip(context.tokens, context.activations, strict=True) if a > 0]
        assert trial.verdict == trial.truth == bool(fired)
        assert set(fired) <= set(FEATURES[LABELLED[0]])
    assert all(c.kind != "generated" for c in run.contexts(LABELLED[0])), "they are no windows of the corpus"
    assert all(c.kind != "generated" for of in run.reader.feature_contexts([LABELLED[0]]) for c in of.contexts)
    digest = run.reader.content_digest()
    assert run_pipeline(pipeline, STAGES).n_failed == 0
    assert open_run(folder).reader.content_digest() == digest, "what is done is not done again"
    assert "score:generation" in printed(capsys, "status", str(folder))
    assert "generation" in printed(capsys, "show", str(folder), str(LABELLED[0]))
    assert {"generation", "generation_shuffled"} <= set(run.to_pandas().columns)


def test_a_feature_that_is_hardly_ever_silent_gets_a_reason_or_a_score(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    pipeline = with_contexts(pipeline_of(planted, tmp_path))
    pipeline = pipeline.model_copy(
        update={"features": pipeline.features.model_copy(update={"indices": f"0-{EVERYWHERE}"})}
    )
    run_pipeline(pipeline, STAGES)
    run = open_run(pipeline.run_folder)
    scored = {
        e.feature_index for e in run.reader.explanations() if run.reader.scores(explanation_ids=[e.explanation_id])
    }
    failed = {f.feature_index: f.error_type for f in run.reader.failures(stage="score:generation")}
    assert scored | failed.keys() >= {0, EVERYWHERE}
    assert set(failed.values()) <= {"NoSilentContexts"}


def test_a_language_model_writes_the_texts_where_one_judges(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with LoopbackServer(Rewrites(refuses=["piano"])) as server:
        pipeline = with_contexts(pipeline_of(planted, tmp_path, *judged_by(server.url + "/v1")))
        plan = plan_cost(pipeline)
        assert server.calls == [], "a dry run asks nothing"
        outcome = run_pipeline(pipeline, STAGES)
        calls = list(server.calls)
        run_pipeline(pipeline, STAGES)
        asked_again = server.calls[len(calls) :]
    run = open_run(pipeline.run_folder)
    labels = {e.feature_index: e for e in run.reader.explanations(baselines=True) if not e.is_baseline}
    assert {call.system for call in calls} == {load_prompt("generate_examples").system}
    assert len(calls) == 2 * len(labels), "one call a label, true or shuffled"
    (stage,) = plan.stages
    assert (stage.stage, stage.usage.n_calls) == ("score:generation", len(calls))
    assert stage.usage.output_tokens / len(calls) > 10 * 2 * 15, "the texts are as long as those that are rewritten"
    scores = {s.explanation_id: s for s in run.reader.scores(scorer="generation")}
    for index, words in enumerate(FEATURES):
        if index in labels and words == (label_meaning(labels[index].label),) and words != ("piano",):
            assert scores[labels[index].explanation_id].value == 1.0, labels[index].label
            assert scores[labels[index].explanation_id].detail["writer"] == "writes"
    refused = run.reader.failures(stage="score:generation")
    assert {(f.error_type, f.retry) for f in refused} == {("Refusal", True)}
    assert len(refused) == 2, "piano's own score, and that of the feature that got its label shuffled"
    assert outcome.n_failed >= 1
    assert all("piano" in call.user for call in asked_again), "what was answered is not asked again"
    used = {row.stage: row.usage for row in run.reader.stages()}["score:generation"]
    assert used is not None
    assert used.n_calls >= len(calls) - 2


@pytest.mark.parametrize(
    ("answer", "error_type"),
    [
        ('{"texts": []}', "ParseFailure"),
        ('{"texts": [{"number": 1, "fits": "a ship", "misses": "a boat"}]}', "TooFewTexts"),
        (
            '{"texts": [{"number": 1, "fits": "", "misses": " "}, {"number": 99, "fits": "a", "misses": "b"}]}',
            "TooFewTexts",
        ),
        ('{"texts": [{"number": 1, "fits": "same", "misses": "same"}]}', "ParseFailure"),
    ],
)
def test_an_answer_without_enough_texts_is_a_failure_with_its_reason(
    planted: Planted,
    with_contexts: WithContexts,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    error_type: str,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with LoopbackServer(Rewrites(answer=answer)) as server:
        pipeline = with_contexts(pipeline_of(planted, tmp_path, *judged_by(server.url + "/v1")))
        pipeline = pipeline.model_copy(
            update={
                "features": pipeline.features.model_copy(update={"indices": "0"}),
                "score": pipeline.score.model_copy(update={"baseline": False}),
            }
        )
        outcome = run_pipeline(pipeline, STAGES)
    (failure,) = open_run(pipeline.run_folder).reader.failures(stage="score:generation")
    assert failure.error_type == error_type
    assert failure.retry
    assert (failure.cost_usd or 0) > 0, "it was paid for"
    if error_type == "TooFewTexts":
        assert "and 3 are needed" in failure.message
    assert outcome.n_failed == 1


def test_a_subject_that_is_gone_is_told_before_anything_is_paid(
    planted: Planted,
    with_contexts: WithContexts,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with LoopbackServer(Rewrites()) as server:
        model = (f'base_url = "{server.url}/v1"', *MODEL)
        more = ("[explain]", 'explainer = "examples"', "[explain.model]", *model, *judged_by(server.url + "/v1"))
        with_contexts(pipeline_of(planted, tmp_path, *more))

        def gone(*configs: object) -> None:
            raise SubjectError("the weights are gone", "get them again")

        monkeypatch.setattr("autointerp.run.session.load_sources", gone)  # as of a model that the hub no longer has
        assert "the weights are gone: get them again" in complaint(capsys, "run", str(tmp_path / "made.toml"))
        assert server.calls == []
    assert open_run(tmp_path / "runs" / "made").reader.explanations() == []


def test_a_run_that_does_not_ask_the_subject_does_not_load_it(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autointerp.run.session import Session

    pipeline = with_contexts(pipeline_of(planted, tmp_path))
    run_pipeline(pipeline, STAGES)

    def load(self: Session) -> None:
        raise AssertionError("it was loaded")

    monkeypatch.setattr(Session, "live_subject", property(load))
    assert run_pipeline(pipeline, STAGES).n_failed == 0, "all is done"
    plain = pipeline.model_copy(update={"score": pipeline.score.model_copy(update={"scorers": ("embedding",)})})
    assert run_pipeline(plain, STAGES).n_failed == 0
