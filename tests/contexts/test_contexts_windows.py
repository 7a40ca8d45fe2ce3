import uuid

import numpy as np
import pytest

from autointerp.contexts.windows import Windows, cut_windows, make_context, window_context
from autointerp.corpus.reader import make_blocks
from autointerp.records import Context, ContextKind, SampledWindows, Split
from tests.contexts.world import SOURCE, NumberedWords, sample_windows

# position      0    1   2   3   4   5   6   7
# tokens        CLS  10  11  12  13  14  SEP PAD
ONE_BLOCK = make_blocks(
    np.array([[1, 10, 11, 12, 13, 14, 2, 0]], dtype=np.int32),
    np.array([[False, True, True, True, True, True, False, False]]),
    ("notes",),
)


def sampled(start: int, peak_position: int, activations: list[float]) -> SampledWindows:
    return sample_windows(
        np.array([activations], dtype=np.float32),
        feature=np.array([7], dtype=np.int32),
        block_index=np.array([0], dtype=np.int64),
        peak_position=np.array([peak_position], dtype=np.int32),
        peak=np.array([max(activations)], dtype=np.float32),
        window_start=np.array([start], dtype=np.int32),
    )


def cut(start: int, peak_position: int, activations: list[float]) -> Context:
    windows: Windows = cut_windows(sampled(start, peak_position, activations), ONE_BLOCK)
    tokens = NumberedWords().pieces(windows.tokens_of(0))
    return window_context(windows, 0, source_id=SOURCE, kind="top", split="explain", quantile=3, tokens=tokens)


def test_a_window_inside_the_block_is_taken_whole() -> None:
    context = cut(2, 4, [0.0, 0.5, 2.0, 0.0])
    assert context.tokens == (" w11", " w12", " w13", " w14")
    assert context.text == "w11 w12 w13 w14"
    assert context.token_ids == (11, 12, 13, 14)
    assert context.activations == (0.0, 0.5, 2.0, 0.0)
    assert (context.start, context.peak, context.max_activation) == (2, 2, 2.0)
    assert (context.kind, context.quantile, context.document_id, context.block_index) == ("top", 3, "notes", 0)
    assert context.is_active


def test_the_special_token_before_the_text_falls_away() -> None:
    context = cut(0, 1, [0.0, 3.0, 1.0, 0.0])
    assert context.token_ids == (10, 11, 12)
    assert context.activations == (3.0, 1.0, 0.0)
    assert (context.start, context.peak) == (1, 0)


def test_special_token_and_padding_after_the_text_fall_away() -> None:
    context = cut(4, 5, [0.0, 3.0, 0.0, 0.0])
    assert context.token_ids == (13, 14)
    assert (context.start, context.peak) == (4, 1)


def test_a_window_that_runs_past_the_blocks_end_is_cut() -> None:
    context = cut(4, 4, [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    assert context.token_ids == (13, 14)


def test_a_document_shorter_than_a_context_gives_all_it_has() -> None:
    context = cut(0, 3, [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    assert context.token_ids == (10, 11, 12, 13, 14)
    assert (context.start, context.peak) == (1, 2)


def test_of_equal_peaks_the_first_is_the_peak() -> None:
    assert cut(1, 2, [0.0, 2.0, 2.0, 0.0]).peak == 1


def test_a_peak_outside_the_counted_tokens_is_refused() -> None:
    with pytest.raises(AssertionError, match="peak outside"):
        cut(0, 0, [3.0, 0.0, 0.0, 0.0])


def of_kind(
    kind: ContextKind, split: Split = "explain", start: int = 1, length: int = 2, feature_index: int = 7
) -> Context:
    return make_context(
        [10] * length,
        [0.0] * length,
        source_id=SOURCE,
        feature_index=feature_index,
        kind=kind,
        split=split,
        quantile=None,
        document_id="notes",
        block_index=0,
        start=start,
        tokens=["x"] * length,
    )


def test_a_context_has_the_same_id_in_every_run() -> None:
    namespace = uuid.uuid5(uuid.NAMESPACE_URL, "autointerp")
    assert of_kind("pool").context_id == str(uuid.uuid5(namespace, "tiny@0-res:7/pool/explain/0/1+2"))


def test_contexts_that_differ_have_different_ids() -> None:
    contexts = [
        of_kind("pool"),
        of_kind("silent_random"),
        of_kind("pool", split="score"),
        of_kind("pool", start=2),
        of_kind("pool", length=3),
        of_kind("pool", feature_index=8),
    ]
    assert len({context.context_id for context in contexts}) == len(contexts)


def test_a_context_in_which_the_feature_fires_is_never_called_silent() -> None:
    with pytest.raises(AssertionError, match="fires in block 4"):
        make_context(
            [10],
            [0.1],
            source_id=SOURCE,
            feature_index=7,
            kind="silent_similar",
            split="score",
            quantile=None,
            document_id="notes",
            block_index=4,
            start=1,
            tokens=["x"],
        )
