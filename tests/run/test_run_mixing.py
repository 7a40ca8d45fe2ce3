"""Runs whose judge is paid for: the labels of several features in one prompt, the same prompts however a run went."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest

from autointerp import open_run, run_pipeline
from autointerp.config import Pipeline
from autointerp.errors import KeyRefusedError
from autointerp.llm.prompts import load_prompt
from autointerp.run.dry_run import plan_cost
from tests.loopback.server import Always, Call, Http, LoopbackServer, Outcome, Say
from tests.loopback.truth import shown_contexts
from tests.run.planted import LABELLED, Planted
from tests.run.prepared import WithContexts
from tests.run.test_run_planted import KEY, asked_pipeline, knowing

pytestmark = pytest.mark.slow

N_PER_PROMPT = 5
DETECTION_ONLY = (
    f"judge.contexts_per_prompt={N_PER_PROMPT}",
    'score.scorers=["detection"]',
    "score.baseline=false",
    "score.referee=false",
)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def judged(calls: Sequence[Call]) -> Counter[str]:
    """The prompts that the judge was asked."""
    asked = {load_prompt(name).system for name in ("judge_detection", "judge_fuzzing")}
    return Counter(call.user for call in calls if call.system in asked)


def labels_by_prompt(pipeline: Pipeline) -> dict[tuple[str, str | None], Counter[str]]:
    """How many questions of each explanation a prompt holds, by scorer and prompt."""
    reader = open_run(pipeline.run_folder).reader
    by_prompt: dict[tuple[str, str | None], Counter[str]] = defaultdict(Counter)
    for explanation in reader.explanations(baselines=True):
        for trial in reader.trials(explanation.explanation_id):
            if trial.scorer != "embedding":
                by_prompt[trial.scorer, trial.prompt][explanation.explanation_id] += 1
    return by_prompt


def test_a_prompt_holds_about_one_question_of_each_of_its_features_and_labels_of_one_kind(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    with LoopbackServer(knowing()) as server:
        settings = (f"judge.contexts_per_prompt={N_PER_PROMPT}", 'score.scorers=["detection","fuzzing"]')
        pipeline = with_contexts(asked_pipeline(planted, tmp_path, server.openai_url, *settings))
        assert run_pipeline(pipeline).n_failed == 0
    by_prompt = labels_by_prompt(pipeline)
    assert len(by_prompt) == judged(server.calls).total()
    assert all(None not in prompt for prompt in by_prompt)
    explanations = open_run(pipeline.run_folder).reader.explanations(baselines=True)
    is_baseline = {e.explanation_id: e.is_baseline for e in explanations}
    features = {e.explanation_id: e.feature_index for e in explanations}
    for n_asked in by_prompt.values():
        assert len({is_baseline[name] for name in n_asked}) == 1
        assert len({features[name] for name in n_asked}) == len(n_asked)
        assert max(n_asked.values()) <= 2
        assert n_asked.total() <= N_PER_PROMPT
    assert sum(len(n_asked) >= N_PER_PROMPT - 1 for n_asked in by_prompt.values()) > 0.9 * len(by_prompt)


def test_the_prompts_are_the_same_for_any_number_of_calls_at_a_time_and_after_a_stop(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    prompts = []
    for name, concurrency in (("one", 1), ("many", 16)):
        with LoopbackServer(knowing(0.1)) as server:
            settings = (*DETECTION_ONLY, f"judge.model.concurrency={concurrency}")
            pipeline = with_contexts(asked_pipeline(planted, tmp_path, server.openai_url, *settings, name=name))
            assert run_pipeline(pipeline).n_failed == 0
            prompts.append(judged(server.calls))
    assert prompts[0] == prompts[1]
    n_calls = prompts[0].total()

    refused: list[str] = []
    stops = [len(LABELLED) + n_calls // 3, len(LABELLED) + 2 * n_calls // 3]

    def reply(call: Call) -> Outcome:
        if stops and call.index > stops[0]:
            refused.append(call.user)
            return Http(401, "no such key", code="invalid_api_key")
        return knowing(0.1).reply(call)

    with LoopbackServer(Always(reply)) as server:
        stopped = with_contexts(asked_pipeline(planted, tmp_path, server.openai_url, *DETECTION_ONLY, name="stopped"))
        while stops:
            with pytest.raises(KeyRefusedError):
                run_pipeline(stopped)
            stops.pop(0)
        assert run_pipeline(stopped).n_failed == 0
        assert judged(server.calls) - Counter(refused) == prompts[0], "none is asked that is answered already"
    digests = {open_run(of.run_folder).reader.content_digest() for of in (pipeline, stopped)}
    assert len(digests) == 1


def test_a_label_that_got_no_score_is_asked_about_again_by_itself(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    def forgetful(call: Call) -> Outcome:
        said = knowing().reply(call)
        shown = shown_contexts(call.user)
        if not isinstance(said, Say) or all(of.label != "tiger" for of in shown):
            return said
        answered = [f"[{of.number}, {90 if of.label in of.text else 5}]" for of in shown if of.label != "tiger"]
        return Say(f'{{"answers": [{", ".join(answered)}]}}')

    with LoopbackServer(Always(forgetful)) as server:
        pipeline = with_contexts(asked_pipeline(planted, tmp_path, server.openai_url, *DETECTION_ONLY))
        assert run_pipeline(pipeline).n_failed == 1
        first = judged(server.calls)
    (failure,) = open_run(pipeline.run_folder).reader.failures(stage="score:detection")
    assert failure.error_type == "AllUnanswered"
    assert (failure.cost_usd or 0.0) > 0
    with LoopbackServer(knowing()) as server:
        again = asked_pipeline(planted, tmp_path, server.openai_url, *DETECTION_ONLY)
        assert run_pipeline(again).n_failed == 0
        assert {of.label for call in server.calls for of in shown_contexts(call.user)} == {"tiger"}
        assert not judged(server.calls).keys() & first.keys()


def test_features_that_are_added_later_are_mixed_among_themselves(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    with LoopbackServer(knowing()) as server:
        some = asked_pipeline(planted, tmp_path, server.openai_url, *DETECTION_ONLY, 'features.indices="0-2"')
        assert run_pipeline(with_contexts(some)).n_failed == 0
        n_calls = len(server.calls)
        every = asked_pipeline(planted, tmp_path, server.openai_url, *DETECTION_ONLY)
        assert run_pipeline(every).n_failed == 0
        later = {of.label for call in server.calls[n_calls:] for of in shown_contexts(call.user)} - {""}
        assert len(later) == len(LABELLED) - 3


def test_what_was_scored_before_a_stop_is_not_asked_again_where_features_are_added(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    pairs = (*DETECTION_ONLY, "judge.contexts_per_prompt=2", "judge.model.concurrency=1")
    n_first = 4

    def reply(call: Call) -> Outcome:
        n_judged = sum(of.label != "" for of in shown_contexts(call.user))
        if n_judged and call.index > n_first + 50:
            return Http(401, "no such key", code="invalid_api_key")
        return knowing().reply(call)

    with LoopbackServer(Always(reply)) as server:
        some = with_contexts(asked_pipeline(planted, tmp_path, server.openai_url, *pairs, 'features.indices="0-3"'))
        with pytest.raises(KeyRefusedError):
            run_pipeline(some)
    reader = open_run(some.run_folder).reader
    scored = {score.explanation_id for score in reader.scores()}
    done = {e.label for e in reader.explanations() if e.explanation_id in scored}
    assert 0 < len(done) < n_first
    with LoopbackServer(knowing()) as server:
        assert run_pipeline(asked_pipeline(planted, tmp_path, server.openai_url, *pairs)).n_failed == 0
        later = {of.label for call in server.calls for of in shown_contexts(call.user)} - {""}
    assert len(later) == len(LABELLED) - len(done)
    assert not later & done


def test_labels_that_are_known_well_enough_are_asked_about_no_further_and_a_stopped_run_goes_on_with_the_same_prompts(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    stop = (*DETECTION_ONLY, "score.stop.threshold=0.55", "score.stop.n_questions=4")
    with LoopbackServer(knowing()) as server:
        whole = with_contexts(asked_pipeline(planted, tmp_path, server.openai_url, *DETECTION_ONLY, name="whole"))
        assert run_pipeline(whole).n_failed == 0
        n_whole = judged(server.calls).total()
    with LoopbackServer(knowing()) as server:
        early = with_contexts(asked_pipeline(planted, tmp_path, server.openai_url, *stop, name="early"))
        planned = {stage.stage: stage.usage.n_calls for stage in plan_cost(early).stages}
        assert run_pipeline(early).n_failed == 0
        prompts = judged(server.calls)
    assert prompts.total() < n_whole
    assert planned["score:detection"] == n_whole, "what is planned is the most"
    reader = open_run(early.run_folder).reader
    scores = reader.scores(scorer="detection")
    assert sum(score.n_trials < score.detail["n_posed"] for score in scores) > len(scores) / 2

    refused: list[str] = []

    def reply(call: Call) -> Outcome:
        if not is_mended and call.index > len(LABELLED) + prompts.total() // 2:
            refused.append(call.user)
            return Http(401, "no such key", code="invalid_api_key")
        return knowing().reply(call)

    is_mended = False
    with LoopbackServer(Always(reply)) as server:
        stopped = with_contexts(asked_pipeline(planted, tmp_path, server.openai_url, *stop, name="stopped"))
        with pytest.raises(KeyRefusedError):
            run_pipeline(stopped)
        is_mended = True
        assert run_pipeline(stopped).n_failed == 0
        assert judged(server.calls) - Counter(refused) == prompts, "none is asked that is answered already"
    assert open_run(stopped.run_folder).reader.content_digest() == reader.content_digest()
