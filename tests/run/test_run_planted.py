"""The whole pipeline on features whose truth is known, against language models that know it."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from autointerp import load_pipeline, open_run, run_pipeline
from autointerp.config import Pipeline
from autointerp.errors import KeyRefusedError, NoKeyError, RunMismatchError, UnknownFeatureError
from autointerp.llm import load_prompt
from autointerp.run.progress import StageSummary
from tests.loopback.server import Always, Call, Http, LoopbackServer, Oracle, Outcome, Provider, Say, Script
from tests.loopback.truth import Shown, TruthOracle, most_frequent_mark
from tests.run.planted import COLOURS, DEAD, EVERYWHERE, FEATURES, LABELLED, RARE, Planted
from tests.run.prepared import WithContexts

KEY = "sk-planted-0123456789"
NAME_OF_COLOURS = "names of colours"


def explain(contexts: Sequence[Shown]) -> str:
    word = most_frequent_mark(contexts)
    return NAME_OF_COLOURS if word in COLOURS else word


def words_asked_about(text: str, marked: Sequence[str]) -> set[str]:
    return {word for piece in marked or (text,) for word in piece.split()}


def is_a_colour(text: str, marked: Sequence[str]) -> bool:
    return bool(words_asked_about(text, marked) & set(COLOURS))


def has_word(word: str) -> Callable[[str, Sequence[str]], bool]:
    return lambda text, marked: word in words_asked_about(text, marked)


def knowing(error_rate: float = 0.0) -> TruthOracle:
    truths = {words[0]: has_word(words[0]) for words in FEATURES if len(words) == 1}
    return TruthOracle({**truths, NAME_OF_COLOURS: is_a_colour}, explain=explain, error_rate=error_rate)


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)


class Told:
    """Keeps each stage's summary line."""

    def __init__(self) -> None:
        self.lines: dict[str, str] = {}

    def progress(
        self, stage: str, n_done: int, n_total: int, note: str = "", *, seconds_left: float | None = None
    ) -> None:
        """Nothing is kept."""

    def finished(self, summary: StageSummary) -> None:
        self.lines[summary.stage] = summary.line()

    def say(self, line: str) -> None:
        self.lines["said"] = line


# As far as a run from the text on is to be had quickly: nothing is embedded before the labels are.
QUICK = ('contexts.negatives=["silent_random"]', 'score.scorers=["detection"]')


def asked_pipeline(
    planted: Planted, folder: Path, url: str, *overrides: str, provider: Provider = "openai", name: str = "asked"
) -> Pipeline:
    model = [f'provider = "{provider}"', 'model = "m"', f'base_url = "{url}"', "usd_per_million_input = 1.0"]
    model += ["usd_per_million_output = 2.0", "concurrency = 4", "max_attempts = 1"]
    model += [f'api_key_env = "{provider.upper()}_API_KEY"']
    more = ["[explain]", 'explainer = "examples"', "[explain.model]", *model]
    more += ["[judge]", 'kind = "llm"', "[judge.model]", *model]
    path = folder / f"{name}.toml"
    path.write_text(planted.toml(name, folder / "runs", *more), encoding="utf-8")
    return load_pipeline(str(path), overrides)


@pytest.mark.parametrize("provider", ["openai", pytest.param("anthropic", marks=pytest.mark.slow)])
def test_a_judge_that_knows_the_truth_gives_every_true_label_full_marks(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path, provider: Provider
) -> None:
    with LoopbackServer(knowing()) as server:
        pipeline = with_contexts(asked_pipeline(planted, tmp_path, server.base_url(provider), provider=provider))
        outcome = run_pipeline(pipeline)
        n_calls = len(server.calls)
        run_pipeline(pipeline)
        assert len(server.calls) == n_calls, "a rerun with nothing left to do asked again"
    run = open_run(pipeline.run_folder)
    assert outcome.n_failed == 0
    labels = {e.feature_index: e.label for e in run.reader.explanations()}
    assert {index: labels[index] for index in LABELLED} == {
        index: NAME_OF_COLOURS if FEATURES[index] == COLOURS else FEATURES[index][0] for index in LABELLED
    }
    for scorer in ("detection", "fuzzing", "recall"):
        values = {s.explanation_id: s.value for s in run.reader.scores(scorer=scorer)}
        for explanation in run.reader.explanations():
            # Recall's value is the middle of what the truth may be, and so never 1.
            least = 0.98 if scorer == "recall" else 1.0
            assert least <= values[explanation.explanation_id] <= 1.0, (scorer, explanation.label)
    summary = {s.scorer: s for s in run.score_summary()}
    assert summary["detection"].shuffled is not None
    assert summary["detection"].shuffled.median < 0.7
    n_asked = Counter(call.system for call in server.calls)
    used = {row.stage: row.usage for row in run.reader.stages() if row.usage is not None}
    assert used["explain"].n_calls == n_asked[load_prompt("explain_examples").system]
    assert used["score:fuzzing"].n_calls == n_asked[load_prompt("judge_fuzzing").system]
    n_detection = n_asked[load_prompt("judge_detection").system]
    assert used["score:detection"].n_calls + used["score:recall"].n_calls == n_detection
    for stage in ("explain", "score:detection", "score:fuzzing", "score:recall"):
        assert (used[stage].cost_usd or 0.0) > 0, f"{stage} is told what its own questions cost"
    assert used["score:embedding"].n_calls == 0


@pytest.mark.slow
def test_a_judge_that_errs_scores_what_its_own_answers_say(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    with LoopbackServer(knowing(error_rate=0.25)) as server:
        pipeline = with_contexts(asked_pipeline(planted, tmp_path, server.url + "/v1", 'score.scorers=["detection"]'))
        run_pipeline(pipeline)
    run = open_run(pipeline.run_folder)
    below_one = 0
    for explanation in run.reader.explanations():
        trials = run.reader.trials(explanation.explanation_id, "detection")
        rates = []
        for truth in (True, False):
            verdicts = [t.verdict for t in trials if t.truth == truth]
            assert None not in verdicts
            rates.append(sum(v == truth for v in verdicts) / len(verdicts))
        (score,) = run.reader.scores(explanation_ids=[explanation.explanation_id])
        assert score.value == pytest.approx(sum(rates) / 2)
        assert score.ci_low <= score.value <= score.ci_high
        below_one += score.value < 1.0
    assert below_one >= len(LABELLED) - 1


@pytest.mark.slow
def test_features_that_cannot_be_labelled_are_recorded_with_the_reason(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    with LoopbackServer(knowing()) as server:
        pipeline = with_contexts(
            asked_pipeline(
                planted,
                tmp_path,
                server.url + "/v1",
                f'features.indices="0,{DEAD}-{RARE}"',
                'score.scorers=["detection"]',
            )
        )
        run_pipeline(pipeline)
    run = open_run(pipeline.run_folder)
    reasons = {f.feature_index: f.error_type for f in run.reader.failures(stage="contexts")}
    assert reasons == {DEAD: "DeadFeature", RARE: "TooFewContexts"}
    assert [e.feature_index for e in run.reader.explanations()] == [0, EVERYWHERE]
    (everywhere,) = run.reader.feature_contexts([EVERYWHERE])
    assert {c.kind for c in everywhere.contexts if not c.is_active} == {"silent_window"}, "it fires in every block"
    assert len(run.reader.features()) == len(FEATURES)
    assert run.reader.feature(DEAD).status == "dead"


@pytest.mark.slow
def test_features_of_which_none_can_be_labelled_are_a_finding_and_no_failure(planted: Planted, tmp_path: Path) -> None:
    with LoopbackServer(knowing()) as server:
        asked = f'features.indices="{DEAD},{RARE}"'
        outcome = run_pipeline(asked_pipeline(planted, tmp_path, server.url + "/v1", asked, *QUICK))
    assert outcome.n_failed == 0
    assert {(of.error_type, of.n) for of in outcome.missing} == {("DeadFeature", 1), ("TooFewContexts", 1)}


@pytest.mark.slow
def test_a_feature_that_fires_in_every_window_is_labelled_and_scored_by_what_needs_no_silence(
    planted: Planted, tmp_path: Path
) -> None:
    asked = (f'features.indices="{EVERYWHERE}"', "collect.context_length=64", *QUICK[:1])
    told = Told()
    with LoopbackServer(knowing()) as server:
        pipeline = asked_pipeline(planted, tmp_path, server.url + "/v1", *asked)
        outcome = run_pipeline(pipeline, reporter=told)
    assert outcome.n_failed == 0, "what can't be is a finding"
    run = open_run(pipeline.run_folder)
    (label,) = run.reader.explanations()
    assert label.label == "the"
    assert {s.scorer: s.value for s in run.reader.scores()} == {"fuzzing": 1.0}
    failures = {f.stage: f for f in run.reader.failures()}
    assert set(failures) == {"score:detection", "score:embedding", "score:recall"}
    assert {f.error_type for f in failures.values()} == {"NoSilentContexts"}
    assert failures["score:detection"].message.startswith("it fires in 256 of the pool's 256 windows")
    assert "1 fire nearly everywhere and have no silent contexts" in told.lines["contexts"]


@pytest.mark.slow
def test_a_later_run_with_more_features_goes_on_from_there(planted: Planted, tmp_path: Path) -> None:
    with LoopbackServer(knowing()) as server:
        first = asked_pipeline(planted, tmp_path, server.url + "/v1", 'features.indices="0-1"', *QUICK)
        run_pipeline(first)
        explained = {e.feature_index: e.created_at for e in open_run(first.run_folder).reader.explanations()}
        more = asked_pipeline(planted, tmp_path, server.url + "/v1", 'features.indices="0-2,6"', *QUICK)
        run_pipeline(more)
    later = {e.feature_index: e.created_at for e in open_run(first.run_folder).reader.explanations()}
    assert sorted(later) == [0, 1, 2, 6]
    assert {index: later[index] for index in explained} == explained


@pytest.mark.slow
def test_a_refused_key_stops_the_run_at_once_and_what_was_collected_stays(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    refusing: Oracle = Always(Http(401, '{"error": {"message": "Incorrect API key", "code": "invalid_api_key"}}'))
    with LoopbackServer(refusing) as server:
        pipeline = with_contexts(asked_pipeline(planted, tmp_path, server.url + "/v1"))
        with pytest.raises(KeyRefusedError):
            run_pipeline(pipeline)
        assert len(server.calls) <= 4
    assert len(open_run(pipeline.run_folder).reader.features()) == len(FEATURES)


@pytest.mark.slow
def test_a_refusal_is_recorded_and_asked_again_by_the_next_run(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    oracle = Script(Say("I can't help with that.", stop="refusal"), then=knowing())
    with LoopbackServer(oracle) as server:
        pipeline = with_contexts(
            asked_pipeline(planted, tmp_path, server.url + "/v1", 'features.indices="0"', 'score.scorers=["detection"]')
        )
        first = run_pipeline(pipeline, ("corpus", "collect", "contexts", "explain"))
        (failure,) = open_run(pipeline.run_folder).reader.failures(stage="explain")
        second = run_pipeline(pipeline)
    assert (first.n_failed, failure.error_type, failure.retry) == (1, "Refusal", True)
    reader = open_run(pipeline.run_folder).reader
    assert second.n_failed == 0
    assert [e.label for e in reader.explanations()] == ["ship"]
    assert reader.failures(stage="explain") == []


@pytest.mark.slow
def test_a_missing_key_is_told_before_anything_is_asked(
    planted: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    with LoopbackServer(knowing()) as server:
        pipeline = asked_pipeline(planted, tmp_path, server.anthropic_url, provider="anthropic")
        with pytest.raises(NoKeyError, match="ANTHROPIC_API_KEY"):
            run_pipeline(pipeline)
        assert server.calls == []
    assert not pipeline.run_folder.exists(), "the key is looked for before hours of collecting"


@pytest.mark.slow
def test_the_key_is_nowhere_in_the_run_folder(planted: Planted, with_contexts: WithContexts, tmp_path: Path) -> None:
    with LoopbackServer(knowing()) as server:
        pipeline = with_contexts(
            asked_pipeline(
                planted, tmp_path, server.url + "/v1", 'features.indices="0-1"', 'score.scorers=["detection"]'
            )
        )
        run_pipeline(pipeline)
    for file in pipeline.run_folder.rglob("*"):
        if file.is_file():
            assert KEY.encode() not in file.read_bytes(), file


@pytest.mark.slow
def test_a_folder_of_another_configuration_is_refused_and_left_alone(planted: Planted, tmp_path: Path) -> None:
    with LoopbackServer(knowing()) as server:
        pipeline = asked_pipeline(planted, tmp_path, server.url + "/v1", 'features.indices="0"')
        run_pipeline(pipeline, ("corpus", "collect"))
        before = (pipeline.run_folder / "run.json").read_text()
        other = asked_pipeline(planted, tmp_path, server.url + "/v1", "contexts.n_score=7")
        with pytest.raises(RunMismatchError, match=r"contexts\.n_score is 20 there, 7 now"):
            run_pipeline(other)
    assert (pipeline.run_folder / "run.json").read_text() == before


@pytest.mark.slow
def test_a_feature_past_the_width_is_an_error_that_names_the_range(planted: Planted, tmp_path: Path) -> None:
    pipeline = asked_pipeline(planted, tmp_path, "http://127.0.0.1:9/v1", 'features.indices="0-12"')
    with pytest.raises(UnknownFeatureError, match="0 to 11"):
        run_pipeline(pipeline)
    assert not (pipeline.run_folder / "corpus").exists(), "it is told before anything is read"


@pytest.mark.slow
def test_the_judges_name_and_every_trial_are_kept(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    with LoopbackServer(knowing()) as server:
        pipeline = with_contexts(
            asked_pipeline(
                planted,
                tmp_path,
                server.url + "/v1",
                'features.indices="6"',
                'score.scorers=["fuzzing"]',
                "score.baseline=false",
            )
        )
        run_pipeline(pipeline)
    run = open_run(pipeline.run_folder)
    (explanation,) = run.reader.explanations()
    (score,) = run.reader.scores()
    trials = run.reader.trials(explanation.explanation_id)
    known = {context.context_id for context in run.reader.contexts(6)}
    assert score.n_trials == len(trials) > 10
    assert {trial.judge for trial in trials} == {"m"}
    assert {trial.context_id for trial in trials} <= known
    assert json.dumps(dict(score.detail))


@pytest.mark.slow
def test_calls_that_were_paid_before_a_run_had_to_stop_stand_in_the_rows_of_their_scorers(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    n_paid = 0

    def reply(call: Call) -> Outcome:
        nonlocal n_paid
        if n_paid == 60:
            return Http(401, "no such key", code="invalid_api_key")
        n_paid += 1
        return knowing().reply(call)

    with LoopbackServer(Always(reply)) as server:
        settings = ('features.indices="0-2"', "score.baseline=false", "judge.contexts_per_prompt=2")
        pipeline = with_contexts(asked_pipeline(planted, tmp_path, server.url + "/v1", *settings))
        with pytest.raises(KeyRefusedError):
            run_pipeline(pipeline)
    rows = {row.stage: row.usage for row in open_run(pipeline.run_folder).reader.stages() if row.usage is not None}
    assert sum(used.n_calls for used in rows.values()) == n_paid == 60
    assert all(rows[f"score:{scorer}"].n_calls > 0 for scorer in ("detection", "fuzzing"))
