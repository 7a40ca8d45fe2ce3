"""The next token: drawn as it should be, and not decided by roundings."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.live.generation.choose import Choice, Chosen, choose, tolerance_of
from autointerp.live.generation.request import LogitShifts

GREEDY = Choice(0.0, 1.0, 0, 0, 0.0)


def token(logits: torch.Tensor, choice: Choice) -> int | None:
    (chosen,) = choose(logits[None], [choice])
    return None if chosen is None else chosen.token_id


def test_the_likeliest_is_taken_and_ties_go_to_the_lower_token() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0, 3.0], [5.0, 1.0, 5.5, 2.0]])
    assert [chosen.token_id for chosen in choose(logits, [GREEDY, GREEDY]) if chosen] == [1, 2]
    (first, _) = choose(logits, [GREEDY, GREEDY])
    assert isinstance(first, Chosen)
    assert np.isclose(first.log_prob, float(logits[0].log_softmax(0)[1]))


def test_shifts_move_the_choice_of_their_own_text_and_what_is_told_is_of_logits_as_they_are() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0, 2.0]] * 3)
    shifts = LogitShifts({2: 4.0}, frequency=0.5, presence=1.0)
    assert shifts.behind([1, 1, 2]) == {1: -2.0, 2: 2.5}
    assert LogitShifts({2: 4.0}).behind([1]) == {2: 4.0}
    choices = [GREEDY, replace(GREEDY, shifts={1: -2.0, 2: 2.5}, n_likeliest=2), replace(GREEDY, n_likeliest=9)]
    plain, shifted, told = choose(logits, choices)
    assert plain is not None
    assert shifted is not None
    assert told is not None
    assert (plain.token_id, shifted.token_id, told.token_id) == (1, 2, 1)
    expected = logits[0].log_softmax(0).tolist()
    assert shifted.log_prob == pytest.approx(expected[2])
    assert dict(shifted.likeliest) == {1: pytest.approx(expected[1]), 3: pytest.approx(expected[3])}
    assert [token_id for token_id, _ in told.likeliest] == [1, 3, 2, 0]
    assert told.log_prob == plain.log_prob == told.likeliest[0][1]


def test_what_is_too_close_to_call_is_not_called() -> None:
    logits = torch.tensor([0.0, 3.0, 2.9995, 1.0])
    assert token(logits, Choice(0.0, 1.0, 0, 0, 2e-4)) == 1
    assert token(logits, Choice(0.0, 1.0, 0, 0, 3e-4)) is None


def test_tokens_are_drawn_in_proportion_to_their_probability_within_top_p() -> None:
    logits = torch.log(torch.tensor([0.4, 0.3, 0.2, 0.06, 0.04]))
    n = 3_000
    for temperature, top_p, n_kept in ((1.0, 1.0, 5), (1.0, 0.85, 3), (2.0, 1.0, 5), (1.0, 0.01, 1)):
        choices = [Choice(temperature, top_p, 7, place, 0.0) for place in range(n)]
        drawn = [chosen.token_id for chosen in choose(logits.expand(n, -1), choices) if chosen]
        expected = (logits / temperature).softmax(0).numpy()[:n_kept]
        expected = expected / expected.sum()
        found = np.bincount(drawn, minlength=5) / n
        assert found[n_kept:].sum() == 0
        assert np.abs(found[:n_kept] - expected).max() < 4 * np.sqrt(0.25 / n), (temperature, top_p)


def test_many_tokens_are_drawn_from_where_many_are_likely() -> None:
    logits = torch.zeros(5000)
    drawn = {token(logits, Choice(1.0, top_p, 1, place, 0.0)) for top_p in (1.0, 0.9) for place in range(100)}
    assert len(drawn) > 90


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.3, 1.0, 1.7]), st.sampled_from([0.1, 0.5, 0.9, 1.0]))
def test_what_is_called_is_the_same_whatever_the_roundings(seed: int, temperature: float, top_p: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(16, 300, generator=rng)
    # Many tokens as likely as others, so that the edge of `top_p` and the winner are often close to call.
    logits[:8] = logits[:8].round(decimals=1)
    tolerance = 1e-4
    moved = logits + tolerance * (2 * torch.rand(logits.shape, generator=rng) - 1)
    choices = [Choice(temperature, top_p, seed, place, tolerance) for place in range(16)]
    of_plain, of_moved = choose(logits, choices), choose(moved, choices)
    exact = choose(logits, [Choice(temperature, top_p, seed, place, 0.0) for place in range(16)])
    for one, other, wanted in zip(of_plain, of_moved, exact, strict=True):
        if one is not None:
            assert wanted is not None
            assert one.token_id == wanted.token_id
            if other is not None:
                assert one.token_id == other.token_id


def test_few_choices_are_too_close_to_call() -> None:
    logits = 6 * torch.randn(400, 2000, generator=torch.Generator().manual_seed(0))
    tolerance = tolerance_of(float(logits.abs().max()), torch.float32)
    for temperature in (0.0, 0.6, 1.0):
        found = choose(logits, [Choice(temperature, 0.9, 1, place, tolerance) for place in range(400)])
        assert sum(one is None for one in found) <= 8
