"""How far a feature that is turned up brings about the tokens that it points to.

It is the output score of Arad, Mueller and Belinkov (2505.20063), which tells whether a feature steers.

1. A feature's tokens are the 20 that the logit lens of its direction puts highest.
2. The subject reads a neutral opening, with the feature turned up by its dose of 1 at every token.
3. The score is (1 - r / |V|) p: r the rank, from 0, of the highest of these tokens among all in what the subject
   expects next, and p their probability together.

Here the probability that they have *without* the edit stands beside, since a feature may point to what comes anyway:
of the 4,067 features of SmolLM2's coder that fire, 16 % score .01 or more, and 9 % raise the probability by as much.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autointerp.library.steer.lens import Lens
from autointerp.live.next_token import OutputHead, next_token_log_probs
from autointerp.records.live import Edit

OPENING = "From my experience,"


@dataclass(frozen=True, slots=True)
class OutputScore:
    """What a feature brings about.

    Attributes:
        score: In [0, 1].
        probability: Of its tokens together, turned up.
        plain: The same without the edit.
        best_rank: Of the highest of them, 0 the first.
        tokens: The tokens that it points to, highest first.
    """

    score: float
    probability: float
    plain: float
    best_rank: int
    tokens: tuple[str, ...]

    @property
    def gain(self) -> float:
        """By how much the edit raises the probability of its tokens."""
        return self.probability - self.plain


def output_scores(
    lens: Lens, head: OutputHead, values: Mapping[int, float], opening: str = OPENING
) -> dict[int, OutputScore]:
    """The output score of some features.

    Args:
        lens: Of their source.
        head: Of the subject.
        values: By feature what it is turned up by, in the coder's own units.
        opening: What the subject reads.

    Returns:
        By feature.

    Raises:
        SubjectError: If the source's features can't be edited, or don't reach the logits.
    """
    if not values:
        return {}
    live, features = lens.live, list(values)
    top, text = lens.top(features), live.read_text(opening)
    plain = next_token_log_probs(live, head, lens.source_id, [text], [()])[0].exp()
    found: dict[int, OutputScore] = {}
    edits: Sequence[Sequence[Edit]] = [(Edit(feature, "add", values[feature]),) for feature in features]
    for batch in live.batches([text] * len(features)):
        after = next_token_log_probs(live, head, lens.source_id, [text] * len(batch), [edits[i] for i in batch]).exp()
        for place, probabilities in zip(batch, after, strict=True):
            tokens = top[place].tolist()
            best = float(probabilities[tokens].max())
            rank = int((probabilities > best).sum())
            probability = float(probabilities[tokens].sum())
            found[features[place]] = OutputScore(
                score=(1 - rank / len(probabilities)) * probability,
                probability=probability,
                plain=float(plain[tokens].sum()),
                best_rank=rank,
                tokens=lens.shown(tokens),
            )
    return {feature: found[feature] for feature in features}
