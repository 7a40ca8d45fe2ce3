"""What some features do on some texts, token by token."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64


@dataclass(frozen=True, slots=True, eq=False)
class OnTexts:
    """Activations of some features at the tokens of some texts that count, one text behind the other.

    Attributes:
        n_texts: Texts, those without such a token included.
        text: Text of each token, ascending.
        features: Indices of the features, in the columns' order.
        values: In the coder's own units, (token, feature).
    """

    n_texts: int
    text: Int64[np.ndarray, " token"]
    features: tuple[int, ...]
    values: Float32[np.ndarray, "token feature"]

    def only(self, first: int, last: int) -> "OnTexts":
        """The texts from one place on, and before another."""
        kept = (self.text >= first) & (self.text < last)
        return OnTexts(last - first, self.text[kept] - first, self.features, self.values[kept])
