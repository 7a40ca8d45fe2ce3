"""All features on texts of today: what the pass over a corpus finds there, in any order and company."""

import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from autointerp.collect.firings import find_in_batches
from autointerp.config import CoderConfig, CorpusConfig, SubjectConfig
from autointerp.corpus import cut_shards
from autointerp.corpus.pieces import TokenPieces
from autointerp.corpus.special import SpecialTokens
from autointerp.errors import SubjectError
from autointerp.live.firings import read_firings
from autointerp.live.subject import LiveSubject
from autointerp.records import Document
from autointerp.records.live import TextFirings
from autointerp.subject.source import load_sources
from tests.run.planted import COLOURS, FEATURES, Planted

NO_SPECIAL = SpecialTokens((), (), frozenset(), 0, "none are wanted")
SOURCE, SOURCE_2 = "planted@0-res-0", "planted@embedded"
TEXTS = [
    "we saw a ship on the river",
    "red and green",
    "the quasar",
    "bread at the window " * 9,
    "a tiger in the forest by candle light",
    "it is not so",
]


@pytest.fixture(scope="module")
def live(planted: Planted) -> LiveSubject:
    subject = SubjectConfig(model=str(planted.model), name="planted", device="cpu")
    coders = [
        CoderConfig(path=str(planted.coder), name="0-res-0"),
        CoderConfig(path=str(planted.coder_2), name="embedded"),
    ]
    sources = load_sources(subject, coders)
    return LiveSubject(sources, NO_SPECIAL, TokenPieces(sources.subject.tokenizer), 64, n_tokens_at_once=256)


def firings_of(live: LiveSubject, texts: Any, source: str = SOURCE) -> list[TextFirings]:
    return [of for (of,) in read_firings(live, texts, [source])]


def dense(of: TextFirings) -> np.ndarray[Any, Any]:
    matrix = np.zeros((len(of.tokens), of.n_features), dtype=np.float32)
    matrix[of.token, of.feature] = of.activation
    return matrix


def test_features_fire_on_their_own_words(live: LiveSubject) -> None:
    first, second, *_ = firings_of(live, TEXTS)
    fired = {(int(f), first.tokens[t].strip()) for t, f in zip(first.token, first.feature, strict=True)}
    assert fired == {(FEATURES.index((word,)), word) for word in ("ship", "the", "river")}
    assert set(second.feature.tolist()) == {FEATURES.index(COLOURS)}
    assert "".join(first.tokens).strip() == TEXTS[0]


def test_they_are_the_coders_own_of_the_models_own(live: LiveSubject) -> None:
    source = live.source(SOURCE)
    for text, found in zip(TEXTS, firings_of(live, TEXTS), strict=True):
        with torch.inference_mode():
            ids = torch.tensor([found.token_ids.tolist()])
            hidden = source.subject.model(input_ids=ids, output_hidden_states=True).hidden_states[0]
            expected = source.coder.sae.encode(hidden[0])
        np.testing.assert_allclose(dense(found), expected.numpy(), atol=1e-5, err_msg=text)


def test_a_text_does_alone_what_it_does_among_others_in_any_order(live: LiveSubject) -> None:
    shuffled = random.Random(3).sample(range(len(TEXTS)), len(TEXTS))
    together = firings_of(live, [TEXTS[i] for i in shuffled])
    for i, among in zip(shuffled, together, strict=True):
        (alone,) = firings_of(live, [TEXTS[i]])
        assert among.token_ids.tolist() == alone.token_ids.tolist()
        np.testing.assert_allclose(dense(among), dense(alone), atol=1e-5)


def test_a_long_text_is_read_as_the_pass_over_a_corpus_reads_it(live: LiveSubject) -> None:
    text = " ".join(TEXTS) * 3
    (ship,) = live.read_text("ship")
    special = replace(NO_SPECIAL, before=(ship,), after=(ship, ship), uncounted=frozenset({ship}))
    framed = replace(live, special=special, block_length=16)
    (found,) = firings_of(framed, [text])
    assert found.windows == tuple(range(0, len(found.tokens), 13))
    assert "2 windows" not in repr(found)
    assert f"read in {len(found.windows)} windows that don't see each other" in repr(found)

    # The same tokens in blocks, through the pass itself.
    config = CorpusConfig(kind="text", path="a", block_length=16, min_block_tokens=1, special_tokens="none")
    (shard,) = cut_shards(
        [Document("a", text)], live.sources.subject.tokenizer, config.model_copy(update={"block_length": 13})
    )
    token_ids = np.full((len(shard.token_ids), 16), 0, dtype=np.int32)
    n_tokens = shard.n_tokens + 3
    counted = np.zeros(token_ids.shape, dtype=np.bool_)
    for number, n in enumerate(shard.n_tokens.tolist()):
        token_ids[number, : n + 3] = [ship, *shard.token_ids[number, :n], ship, ship]
        counted[number, 1 : n + 1] = shard.token_ids[number, :n] != ship
    shard = replace(shard, token_ids=token_ids, n_tokens=n_tokens, counted=counted)
    expected = np.zeros((len(found.tokens), found.n_features), dtype=np.float32)
    for batch in find_in_batches(replace(live.sources, sources=(live.source(SOURCE),)), shard, 4):
        for _, firings in batch:
            row, position = firings.cell // 16, firings.cell % 16
            expected[13 * row + position - 1, firings.feature] = firings.activation
    assert expected.any()
    np.testing.assert_allclose(dense(found), expected, atol=1e-5)


def test_several_sources_share_one_forward_pass(live: LiveSubject) -> None:
    n_passes = 0

    def count(*_: object) -> None:
        nonlocal n_passes
        n_passes += 1

    handle = live.sources.subject.model.register_forward_pre_hook(count)
    try:
        (both,) = read_firings(live, TEXTS[:1])
    finally:
        handle.remove()
    assert n_passes == 1
    for found, source in zip(both, (SOURCE, SOURCE_2), strict=True):
        assert found.source_id == source
        np.testing.assert_array_equal(dense(found), dense(firings_of(live, TEXTS[:1], source)[0]))


def test_texts_are_read_as_they_are_asked_for_and_counted(live: LiveSubject) -> None:
    n_taken, told = 0, list[int]()

    def many() -> Iterator[str]:
        nonlocal n_taken
        for number in range(2000):
            n_taken += 1
            yield TEXTS[number % len(TEXTS)]

    found = read_firings(live, many(), [SOURCE], told.append)
    next(found)
    assert n_taken < 400
    assert sum(1 for _ in found) == 1999
    assert told == sorted(told)
    assert told[-1] == 2000


def test_several_threads_may_ask_at_once(live: LiveSubject) -> None:
    alone = {text: dense(firings_of(live, [text])[0]) for text in TEXTS}
    found: dict[str, list[TextFirings]] = {}

    def ask(text: str) -> None:
        found[text] = firings_of(live, [text] * 5)

    threads = [threading.Thread(target=ask, args=(text,)) for text in TEXTS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for text in TEXTS:
        for of in found[text]:
            np.testing.assert_allclose(dense(of), alone[text], atol=1e-5)


@pytest.mark.parametrize("text", ["", "ship", "ship ship"])
def test_a_text_of_no_or_only_special_tokens_has_no_firing(live: LiveSubject, text: str) -> None:
    ids = frozenset(live.read_text("ship ship"))
    (found,) = firings_of(replace(live, special=replace(NO_SPECIAL, uncounted=ids)), [text])
    assert found.n_counted == 0
    assert len(found.activation) == 0
    assert len(found.tokens) == len(text.split())


def test_half_a_surrogate_pair_and_nul_are_text_too(live: LiveSubject) -> None:
    broken, mended = firings_of(live, ["a \ud83d ship\0", "a \ufffd ship\0"])
    assert broken.token_ids.tolist() == mended.token_ids.tolist()
    assert FEATURES.index(("ship",)) in broken.feature


def test_a_megabyte_of_text_is_read(live: LiveSubject) -> None:
    text = "we saw a ship on the river and went back " * 25_000
    (found,) = firings_of(live, [text])
    assert "".join(found.tokens).strip() == text.strip()
    n_ships = int((found.feature == FEATURES.index(("ship",))).sum())
    assert n_ships == 25_000


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (["a", "b"], "is list of str, not a list of messages"),
        ([{"role": "user"}], "has no text in message 1"),
        ([{"content": "a"}], "has no role in message 1"),
        ({"role": "user", "content": "a"}, "is dict, not a list of messages"),
        ([], "is empty"),
        (None, "is empty"),
        (7, "is int, not a list of messages"),
        ([{"role": "user", "content": [{"type": "image"}]}], "has content of the type image in message 1"),
    ],
)
def test_what_is_no_text_is_told_in_one_line(live: LiveSubject, text: Any, problem: str) -> None:
    with pytest.raises(SubjectError, match=problem) as told:
        firings_of(live, [text])
    assert "\n" not in told.value.problem
    assert told.value.remedy


def test_texts_before_one_that_cannot_be_read_are_given(live: LiveSubject) -> None:
    texts: list[Any] = ["a ship", "the river", 7]
    found = read_firings(live, texts, [SOURCE])
    assert len([next(found), next(found)]) == 2
    with pytest.raises(SubjectError, match="text 2 is int"):
        next(found)


def test_an_unknown_source_is_told_with_those_that_there_are(live: LiveSubject) -> None:
    with pytest.raises(SubjectError, match="no coder 'other@1'") as told:
        firings_of(live, ["a"], "other@1")
    assert SOURCE in told.value.remedy


def test_a_batch_that_does_not_fit_into_memory_is_done_in_halves(
    live: LiveSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [dense(of) for of in firings_of(live, TEXTS)]
    forward = live.sources.subject.model.forward

    def small(input_ids: torch.Tensor, **rest: Any) -> Any:
        if len(input_ids) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(input_ids=input_ids, **rest)

    monkeypatch.setattr(live.sources.subject.model, "forward", small)
    for found, whole in zip(firings_of(live, TEXTS), expected, strict=True):
        np.testing.assert_allclose(dense(found), whole, atol=1e-5)


def test_one_window_that_does_not_fit_into_memory_is_told(live: LiveSubject, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(input_ids: torch.Tensor, **rest: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(live.sources.subject.model, "forward", never)
    with pytest.raises(SubjectError, match="2 tokens at once do not fit into memory"):
        firings_of(live, ["a ship"])


def test_what_overflows_is_given_as_it_is(planted: Planted) -> None:
    subject = SubjectConfig(model=str(planted.model), name="planted", device="cpu")
    sources = load_sources(subject, [CoderConfig(path=str(planted.coder), name="0-res-0")])
    live = LiveSubject(sources, NO_SPECIAL, TokenPieces(sources.subject.tokenizer), 64, n_tokens_at_once=256)
    (ship,) = live.read_text("ship")
    model: Any = sources.subject.model
    with torch.no_grad():
        model.get_input_embeddings().weight[ship] = torch.inf
    (found,) = firings_of(live, ["a ship"])
    assert not np.isfinite(found.activation[found.token == 1]).any()
