from collections import Counter
from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.config import ContextsConfig
from autointerp.contexts.choose import ActiveChoices, Candidates, choose_active, quantiles_among, stratify
from autointerp.contexts.splits import trigram_sets
from autointerp.contexts.windows import Windows
from autointerp.records import Split


def quantiles(peaks: list[float], n_quantiles: int) -> list[int]:
    peak = np.array(peaks, dtype=np.float32)
    block = np.arange(len(peaks))
    return [int(quantile) for quantile in quantiles_among(peak, block, peak, block, n_quantiles)]


def test_quantiles_hold_equally_many_blocks() -> None:
    assert quantiles([5.0, 1.0, 3.0, 2.0, 4.0, 6.0], 3) == [2, 0, 1, 0, 1, 2]


def test_fewer_blocks_than_quantiles_are_spread_over_them() -> None:
    assert quantiles([1.0, 2.0, 3.0], 10) == [0, 3, 6]


def test_equal_peaks_are_ordered_by_block() -> None:
    assert quantiles([1.0, 1.0, 1.0, 1.0], 2) == [0, 0, 1, 1]


def test_a_peak_outside_the_sample_falls_among_its_peaks() -> None:
    sample = np.array([1.0, 2.0, 3.0, 4.0], dtype=np.float32)
    outside = np.array([0.5, 2.5, 9.0, 2.0], dtype=np.float32)
    blocks = np.array([10, 11, 12, 13])
    assert quantiles_among(outside, blocks, sample, np.arange(4), 4).tolist() == [0, 2, 3, 2]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(1, 12))
@settings(deadline=None)
def test_quantiles_are_of_equal_count_also_with_ties(peaks: list[int], n_quantiles: int) -> None:
    counts = Counter(quantiles([float(peak) for peak in peaks], n_quantiles))
    in_all = [counts[quantile] for quantile in range(n_quantiles)]
    assert max(in_all) - min(in_all) <= 1


def hashes(*values: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.array(values, dtype=np.uint64)


def test_quantiles_take_turns() -> None:
    chosen = stratify([10, 11, 12, 20, 21, 22], [0, 0, 0, 1, 1, 1], hashes(1, 2, 3, 6, 5, 4), 4)
    assert chosen == [10, 22, 11, 21]


def test_what_a_short_quantile_lacks_is_made_up_for_by_all_others_alike() -> None:
    rows = [0, 10, 11, 12, 13, 20, 21, 22, 23]
    quantile = [0, 1, 1, 1, 1, 2, 2, 2, 2]
    chosen = stratify(rows, quantile, hashes(*range(9)), 7)
    assert Counter(row // 10 for row in chosen) == {0: 1, 1: 3, 2: 3}


def test_fewer_candidates_than_wanted_are_all_chosen() -> None:
    assert sorted(stratify([3, 4], [0, 1], hashes(9, 8), 20)) == [3, 4]
    assert stratify([], [], hashes(), 20) == []


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(1, 30), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_candidates_does_not_matter(quantile: list[int], n_wanted: int, random: Random) -> None:
    rows = list(range(len(quantile)))
    order = [(7919 * row) % 1009 for row in rows]
    shuffled = rows.copy()
    random.shuffle(shuffled)
    assert stratify(rows, quantile, hashes(*order), n_wanted) == stratify(
        shuffled, [quantile[row] for row in shuffled], hashes(*(order[row] for row in shuffled)), n_wanted
    )


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(0, 30))
@settings(deadline=None)
def test_any_first_part_of_the_choice_is_stratified(quantile: list[int], n_wanted: int) -> None:
    chosen = stratify(list(range(len(quantile))), quantile, hashes(*range(len(quantile))), n_wanted)
    assert len(chosen) == min(n_wanted, len(quantile))
    counts, available = Counter(quantile[row] for row in chosen), Counter(quantile)
    most = max(counts.values(), default=0)
    assert all(counts[stratum] >= min(available[stratum], most - 1) for stratum in available)


class Case:
    """One feature: `n` firing blocks with peaks 1 to n, alternating splits, and the same blocks in the top set."""

    def __init__(self, n: int, n_top: int, *, copies: dict[int, int] | None = None) -> None:
        by_peak = np.arange(n)[::-1][:n_top]
        block = np.concatenate([by_peak, np.arange(n)])
        tokens = block[:, None] * 10 + np.arange(5)[None, :]
        for copy, original in (copies or {}).items():
            tokens[block == copy] = original * 10 + np.arange(5)
        self.windows = Windows(
            feature=np.zeros(block.size, dtype=np.int32),
            block_index=block.astype(np.int64),
            start=np.zeros(block.size, dtype=np.int32),
            length=np.full(block.size, 5, dtype=np.int32),
            token_ids=tokens.astype(np.int32),
            activations=np.ones((block.size, 5), dtype=np.float32),
            peak=(block + 1).astype(np.float32),
            document_ids=tuple(f"document {b}" for b in block.tolist()),
            group_ids=tuple(f"document {b}" for b in block.tolist()),
        )
        self.splits: list[Split] = ["explain" if b % 2 == 0 else "score" for b in block.tolist()]
        self.top = np.arange(by_peak.size)
        self.fired = np.arange(by_peak.size, block.size)

    def choose(self, config: ContextsConfig, *, key: int = 5) -> ActiveChoices:
        trigrams = trigram_sets(self.windows.token_ids, self.windows.length)
        candidates = Candidates(self.windows, trigrams, self.splits, self.top, self.fired)
        return choose_active(candidates, config, key)

    def blocks(self, rows: list[int]) -> list[int]:
        return [int(block) for block in self.windows.block_index[rows]]


def test_half_of_the_explain_contexts_are_the_strongest_of_their_documents() -> None:
    case = Case(100, 40)
    chosen = case.choose(ContextsConfig(n_explain=20, top_share=0.5))
    top = [choice.row for choice in chosen.explain if choice.kind == "top"]
    assert case.blocks(top) == [98, 96, 94, 92, 90, 88, 86, 84, 82, 80]
    assert {choice.quantile for choice in chosen.explain if choice.kind == "top"} == {8, 9}
    by_quantile = Counter(choice.quantile for choice in chosen.explain if choice.kind == "quantile")
    # Quantiles 8 and 9 have nothing left that is not in the top half; the other eight have one each, two of them two.
    assert sorted(by_quantile) == list(range(8))
    assert sum(by_quantile.values()) == 10
    assert max(by_quantile.values()) == 2


def test_score_contexts_come_equally_from_every_quantile() -> None:
    case = Case(100, 40)
    chosen = case.choose(ContextsConfig(n_score=20))
    assert {choice.kind for choice in chosen.score} == {"quantile"}
    assert Counter(choice.quantile for choice in chosen.score) == dict.fromkeys(range(10), 2)
    assert all(block % 2 == 1 for block in case.blocks([choice.row for choice in chosen.score]))


def test_without_a_top_share_all_explain_contexts_are_stratified() -> None:
    chosen = Case(100, 40).choose(ContextsConfig(n_explain=20, top_share=0.0))
    assert Counter(choice.quantile for choice in chosen.explain) == dict.fromkeys(range(10), 2)


def test_the_top_set_fills_up_where_the_uniform_sample_runs_short() -> None:
    case = Case(100, 40)
    case.fired = case.fired[:20]  # ten of them explain documents
    chosen = case.choose(ContextsConfig(n_explain=28, top_share=0.5))
    assert Counter(choice.kind for choice in chosen.explain) == {"top": 18, "quantile": 10}


def test_the_uniform_sample_fills_up_where_the_top_set_runs_short() -> None:
    chosen = Case(100, 4).choose(ContextsConfig(n_explain=20, top_share=0.5))
    assert Counter(choice.kind for choice in chosen.explain) == {"top": 2, "quantile": 18}


def test_no_block_is_chosen_twice() -> None:
    case = Case(30, 30)
    chosen = case.choose(ContextsConfig(n_explain=40))
    assert sorted(case.blocks([choice.row for choice in chosen.explain])) == list(range(0, 30, 2))


def test_a_score_context_that_repeats_what_the_explainer_saw_is_dropped() -> None:
    case = Case(30, 30, copies={7: 12, 9: 12})
    chosen = case.choose(ContextsConfig(n_explain=40, n_score=40))
    assert 12 in case.blocks([choice.row for choice in chosen.explain])
    assert sorted(case.blocks([choice.row for choice in chosen.score])) == sorted({*range(1, 30, 2)} - {7, 9})


def test_a_context_that_the_explainer_did_not_see_keeps_nothing_out() -> None:
    case = Case(30, 2, copies={7: 0})
    chosen = case.choose(ContextsConfig(n_explain=2, top_share=1.0, n_score=40))
    assert 7 in case.blocks([choice.row for choice in chosen.score])


def test_another_key_chooses_others() -> None:
    case = Case(100, 40)
    config = ContextsConfig(n_score=20)
    assert case.choose(config).score == case.choose(config).score
    assert set(case.choose(config, key=6).score) != set(case.choose(config).score)


def test_a_feature_without_windows_has_no_contexts() -> None:
    assert Case(0, 0).choose(ContextsConfig()) == ActiveChoices((), ())
