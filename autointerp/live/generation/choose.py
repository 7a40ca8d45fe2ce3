"""The next token of each text: the likeliest, or one drawn, the same whatever the text is computed with.

Products of matrices are summed in another order in a batch than alone, and with a cache than without, so that logits
differ in their last bits. Tokens must not:

1. What is drawn depends on the seed, the place in the answer and the token only: to each token's log-probability, over
   the temperature, noise is added that is hashed from these three, and the largest sum wins (the Gumbel-max trick). So
   nothing is drawn from a state that other texts move on, and a small change of the logits seldom changes the token.
2. Whether it might is seen: the lead of the winner, and the distance of a token from the edge of `top_p`, are held
   against a tolerance, a multiple of what sums in another order were measured to differ by.
3. Where the lead is smaller, nothing is chosen, and the caller computes the text once more, alone and from its
   beginning, which gives the same bits whoever does it. Of these logits the winner is taken as it is, ties to the
   lower token.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, UInt64
from torch import Tensor

_FEW = 64
# Of the largest logit (`benchmarks/steer.md`). In float32 ten times what sums in another order were measured to move
# likelier tokens' log-probabilities by. In bfloat16 less than the 1.6 % that they move some by, since half of drawn
# choices are computed anew by it as it is: at half of it no choice was another unseen. float16 has three bits more.
_TOLERANCES = {torch.float32: 4e-5, torch.float16: 3e-3, torch.bfloat16: 1e-2}
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_BITS = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Choice:
    """How one text's next token is chosen.

    Attributes:
        temperature: 0 for the likeliest.
        top_p: Probability, at the temperature, of the tokens that are drawn from.
        seed: Of the answer.
        place: Of the token in the answer.
        tolerance: Nats by which a log-probability may differ; 0 for logits that are taken as they are.
        shifts: Added to logits, by token.
        n_likeliest: Tokens that are told with the chosen one.
    """

    temperature: float
    top_p: float
    seed: int
    place: int
    tolerance: float
    shifts: Mapping[int, float] = field(default_factory=dict)
    n_likeliest: int = 0


@dataclass(frozen=True, slots=True)
class Chosen:
    """A token with its log-probability at temperature 1, in nats, and the likeliest in its place; without shifts."""

    token_id: int
    log_prob: float
    likeliest: tuple[tuple[int, float], ...] = ()


def choose(logits: Float[Tensor, "text token"], choices: Sequence[Choice]) -> list[Chosen | None]:
    """Choose a token for each text.

    Args:
        logits: All finite.
        choices: One a text.

    Returns:
        None where the choice is within the tolerance.
    """
    of_plain = of_scaled = logits.logsumexp(dim=-1).tolist()
    shifted = _shifted(logits, choices)
    temperatures = [choice.temperature or 1.0 for choice in choices]
    if shifted is not logits or any(temperature != 1.0 for temperature in temperatures):
        scaled = shifted / torch.tensor(temperatures, device=logits.device)[:, None]
        of_scaled = scaled.logsumexp(dim=-1).tolist()
    values, tokens = (found.cpu().numpy() for found in shifted.topk(min(_FEW, logits.shape[1]), dim=-1))
    found = [
        _choose(shifted[row], values[row].astype(np.float64), tokens[row], (of_plain[row], of_scaled[row]), choice)
        for row, choice in enumerate(choices)
    ]
    rows = zip(found, logits, of_plain, choices, strict=True)
    return [_told(one, of_row, total, choice) for one, of_row, total, choice in rows]


def _shifted(logits: Float[Tensor, "text token"], choices: Sequence[Choice]) -> Float[Tensor, "text token"]:
    """Logits with what is added to them; themselves, where that is nothing."""
    at = [(row, token_id, shift) for row, choice in enumerate(choices) for token_id, shift in choice.shifts.items()]
    if not at:
        return logits
    rows, token_ids, shifts = (torch.tensor(column, device=logits.device) for column in zip(*at, strict=True))
    return logits.index_put((rows, token_ids), shifts.to(logits.dtype), accumulate=True)


def _told(chosen: Chosen | None, logits: Float[Tensor, " token"], total: float, choice: Choice) -> Chosen | None:
    """A chosen token with what is told of logits as they are."""
    if chosen is None or not (choice.shifts or choice.n_likeliest):
        return chosen
    values, token_ids = logits.topk(min(choice.n_likeliest, len(logits)))
    likeliest = zip(token_ids.tolist(), (value - total for value in values.tolist()), strict=True)
    return Chosen(chosen.token_id, float(logits[chosen.token_id]) - total, tuple(likeliest))


def _choose(
    logits: Float[Tensor, " token"],
    values: Float64[np.ndarray, " likeliest"],
    tokens: Int64[np.ndarray, " likeliest"],
    totals: tuple[float, float],
    choice: Choice,
) -> Chosen | None:
    """Choose of one text's likeliest tokens, or of more where these are not enough.

    Args:
        logits: Of all tokens.
        values: Of the likeliest, falling.
        tokens: The likeliest.
        totals: What is to be taken off logits, and off logits over the temperature, for log-probabilities.
        choice: How to choose.
    """
    if choice.temperature == 0:
        place = _winner(values, tokens, np.zeros(len(values), dtype=bool), 2 * choice.tolerance)
    else:
        log_probs = values / choice.temperature - totals[1]
        edge = 2 * choice.tolerance / choice.temperature
        before = np.concatenate([[0.0], np.cumsum(np.exp(log_probs))[:-1]])
        if len(values) < len(logits) and (choice.top_p >= 1 or before[-1] < choice.top_p + edge):
            n_more = len(logits) if choice.top_p >= 1 else min(len(logits), 16 * len(values))
            more, ids = (found.cpu().numpy() for found in logits.topk(n_more))
            return _choose(logits, more.astype(np.float64), ids, totals, choice)
        n_in, n_maybe = _nucleus(log_probs, before, choice.top_p, edge)
        scores = log_probs[:n_maybe] + _noise(choice.seed, choice.place, tokens[:n_maybe])
        place = _winner(scores, tokens[:n_maybe], np.arange(n_maybe) >= n_in, edge)
    if place is None:
        return None
    return Chosen(int(tokens[place]), float(values[place]) - totals[0])


def _nucleus(
    log_probs: Float64[np.ndarray, " likeliest"], before: Float64[np.ndarray, " likeliest"], top_p: float, edge: float
) -> tuple[int, int]:
    """How many of the likeliest tokens are drawn from for certain, and how many perhaps."""
    if top_p >= 1:
        return len(log_probs), len(log_probs)
    falling = -log_probs
    n_in = max(1, int(np.searchsorted(before, top_p - edge)))
    n_maybe = max(1, int(np.searchsorted(before, top_p + edge)))
    if edge > 0:
        # Tokens as likely as those at the edge, but for the tolerance, may change places with them.
        if n_in < len(falling):
            n_in = min(n_in, int(np.searchsorted(falling, falling[n_in] - edge)))
        n_maybe = int(np.searchsorted(falling, falling[n_maybe - 1] + edge, side="right"))
    return n_in, n_maybe


def _winner(
    scores: Float64[np.ndarray, " likeliest"],
    tokens: Int64[np.ndarray, " likeliest"],
    is_maybe: np.ndarray,
    lead: float,
) -> int | None:
    """The place of the largest score, ties to the lower token; None where the lead is too small, or it may be out."""
    best = float(scores.max())
    ahead = np.flatnonzero(scores >= best - lead)
    if lead > 0 and (len(ahead) > 1 or is_maybe[ahead[0]]):
        return None
    return int(ahead[np.argmin(tokens[ahead])])


def _noise(seed: int, place: int, tokens: Int64[np.ndarray, " token"]) -> Float64[np.ndarray, " token"]:
    """Gumbel noise of some tokens: splitmix64 of seed and place, then of the token."""
    key = _mixed(np.array([(seed * 0x9E3779B97F4A7C15 + place) & _BITS], dtype=np.uint64))
    bits = _mixed(key + tokens.astype(np.uint64) * _GOLDEN) >> np.uint64(11)
    uniform = (bits.astype(np.float64) + 0.5) / 2.0**53
    noise: Float64[np.ndarray, " token"] = -np.log(-np.log(uniform))
    return noise


def _mixed(bits: UInt64[np.ndarray, " word"]) -> UInt64[np.ndarray, " word"]:
    bits = bits + _GOLDEN
    bits = (bits ^ (bits >> np.uint64(30))) * _MIX_1
    bits = (bits ^ (bits >> np.uint64(27))) * _MIX_2
    mixed: UInt64[np.ndarray, " word"] = bits ^ (bits >> np.uint64(31))
    return mixed


def tolerance_of(largest: float, dtype: torch.dtype) -> float:
    """Nats within which a choice is not certain.

    Args:
        largest: Of the text's logits, by size.
        dtype: The numbers that the subject computes in.
    """
    return min(_TOLERANCES[dtype] * largest, 1.0)
