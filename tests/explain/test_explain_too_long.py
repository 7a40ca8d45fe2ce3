"""A prompt that is longer than the model's window: fewer contexts are shown, and it is recorded how many."""

import pytest

from autointerp.errors import PipelineError
from autointerp.explain.explainers.contrastive import ContrastiveExplainer
from autointerp.explain.explainers.examples import ExamplesExplainer
from autointerp.llm import Journal
from autointerp.llm.tokens import estimated_tokens
from tests.explain.explaining import MONTHS, ask, config, evidence, peaks
from tests.loopback.contexts import context
from tests.loopback.server import Always, Call, Http, Outcome, Provider, Say
from tests.loopback.truth import shown_contexts

REFUSALS = {
    "openai": Http(400, "This model's maximum context length is 99 tokens", code="context_length_exceeded"),
    "anthropic": Http(400, "prompt is too long: 999 tokens > 99 maximum", kind="invalid_request_error"),
}


def at_most(n_contexts: int, provider: Provider = "openai", answer: str = '{"label": "b"}') -> Always:
    def reply(call: Call) -> Outcome:
        return REFUSALS[provider] if len(shown_contexts(call.user)) > n_contexts else Say(answer)

    return Always(reply)


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_prompt_that_the_server_finds_too_long_is_halved_until_it_fits(journal: Journal, provider: Provider) -> None:
    asked = ask(ExamplesExplainer, at_most(12, provider), journal, evidence(peaks(50)), provider=provider)
    assert [len(shown_contexts(call.user)) for call in asked.calls] == [40, 20, 10]
    assert asked.explanation.n_contexts == 10
    texts = [context.text for context in shown_contexts(asked.calls[-1].user)]
    assert texts[:5] == [f"word{i} b" for i in range(50, 45, -1)], "the top is still half of them"
    assert texts[-1] == "word1 b", "and the weakest is still among them"


def test_where_the_fewest_are_too_many_it_is_a_failure_until_the_server_is_given_more_room(journal: Journal) -> None:
    asked = ask(ExamplesExplainer, at_most(4), journal, evidence(peaks(50)))
    assert [len(shown_contexts(call.user)) for call in asked.calls] == [40, 20, 10, 5]
    assert (asked.failure.error_type, asked.failure.retry) == ("TooLong", True)
    assert asked.failure.message.endswith("with 5 contexts, the fewest to show")
    assert "maximum context length" in asked.failure.message


def test_a_feature_of_few_contexts_is_shown_with_all_of_them_or_not_at_all(journal: Journal) -> None:
    asked = ask(ExamplesExplainer, at_most(2), journal, evidence(MONTHS))
    assert len(asked.calls) == 1
    assert asked.failure.error_type == "TooLong"


def test_silent_contexts_grow_fewer_with_the_others(journal: Journal) -> None:
    silent = tuple(context(f"s{i}", kind="silent_random", block_index=100 + i) for i in range(10))
    oracle = at_most(10, answer='{"label": "b", "excludes": ""}')
    asked = ask(ContrastiveExplainer, oracle, journal, evidence(peaks(50), silent=silent))
    assert [call.user.count("\n- ") for call in asked.calls] == [10, 5, 2]
    assert asked.explanation.n_contexts == 10


def test_a_window_that_is_known_is_kept_to_without_asking(journal: Journal) -> None:
    shown = evidence(peaks(50))
    all_of_them = ask(ExamplesExplainer, at_most(99), journal, shown, max_output_tokens=100)
    assert all_of_them.explanation.n_contexts == 40
    n_input = estimated_tokens(all_of_them.calls[0].system) + estimated_tokens(all_of_them.calls[0].user)
    asked = ask(
        ExamplesExplainer, at_most(99), journal, shown, max_output_tokens=100, context_window=n_input, temperature=0.0
    )
    assert [len(shown_contexts(call.user)) for call in asked.calls] == [20]
    assert asked.explanation.n_contexts == 20
    small = ask(ExamplesExplainer, at_most(99), journal, shown, max_output_tokens=100, context_window=300)
    assert small.calls == []
    assert small.failure.error_type == "TooLong"
    assert "context_window = 300" in small.failure.message


def test_the_default_room_for_an_answer_does_not_cost_a_small_window_its_labels(journal: Journal) -> None:
    """A server with a window of 4,096, which the default `max_output_tokens` alone would fill."""

    def reply(call: Call) -> Outcome:
        assert call.max_output_tokens is not None
        n_input = (len(call.system) + len(call.user)) // 4
        if n_input + call.max_output_tokens <= 4096:
            return Say('{"label": "b"}')
        n_asked = n_input + call.max_output_tokens
        said = f"However, you requested {n_asked} tokens ({n_input} in the messages, {call.max_output_tokens} in the"
        return Http(400, f"This model's maximum context length is 4096 tokens. {said} completion).")

    shown = evidence(peaks(50))
    asked = ask(ExamplesExplainer, Always(reply), journal, shown)
    assert asked.explanation.n_contexts == 40
    assert [call.max_output_tokens for call in asked.calls][:1] == [4096]
    assert len(asked.calls) == 2
    known = ask(ExamplesExplainer, Always(reply), journal, shown, context_window=4096)
    assert known.explanation.n_contexts == 40
    assert len(known.calls) == 1


def test_labels_from_fewer_contexts_say_how_many_were_wanted(journal: Journal) -> None:
    fewer = ask(ExamplesExplainer, at_most(12), journal, evidence(peaks(50)))
    assert fewer.explanation.detail == {"n_contexts_wanted": 40}
    few = ask(ExamplesExplainer, at_most(12), journal, evidence(peaks(8)))
    assert (few.explanation.n_contexts, few.explanation.detail) == (8, {})


def test_an_answer_that_the_window_cuts_off_says_so(journal: Journal) -> None:
    asked = ask(ExamplesExplainer, Always(Say('{"la', stop="truncated")), journal, context_window=1500)
    assert asked.failure.error_type == "Truncated"
    assert "the prompt leaves no more in the model's window" in asked.failure.message


def test_a_window_without_room_for_any_question_is_told_at_once() -> None:
    with pytest.raises(PipelineError, match=r"explain.model.context_window = 256 leaves no room for a question"):
        ExamplesExplainer.settings_fingerprint(config(context_window=256))


def test_what_was_paid_before_it_was_too_long_is_counted(journal: Journal) -> None:
    """The answer can't be read, and the question with the complaint is too long."""

    def reply(call: Call) -> Outcome:
        n_shown = len(shown_contexts(call.user))
        if n_shown == 20 and len(call.turns) == 1:
            return Say("a label", tokens=(100, 0, 10))
        return Say('{"label": "b"}', tokens=(50, 0, 10)) if n_shown == 10 else REFUSALS["openai"]

    shown, price = evidence(peaks(20)), 1.0
    asked = ask(
        ExamplesExplainer,
        Always(reply),
        journal,
        shown,
        usd_per_million_input=price,
        usd_per_million_output=price,
    )
    assert asked.explanation.cost_usd == pytest.approx(170e-6)
    assert asked.explanation.n_contexts == 10
