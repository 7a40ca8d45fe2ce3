"""What calls cost, from the prices in the config: a price that is not there is unknown, never zero."""

from dataclasses import dataclass

from autointerp.config import ModelConfig
from autointerp.llm.protocol import RawAnswer
from autointerp.records import Usage


@dataclass(frozen=True, slots=True)
class Prices:
    """USD per million tokens.

    Attributes:
        input: Of input that is not read from the provider's cache; None if unknown.
        cached_input: Of input that is; by default as `input`.
        output: Of output; None if unknown.
    """

    input: float | None
    cached_input: float | None
    output: float | None

    def usage(self, answer: RawAnswer) -> Usage:
        """What one paid answer used and cost.

        A provider's surcharge for writing its cache is not in the config, and not counted.
        """
        return Usage(
            n_calls=1,
            input_tokens=answer.input_tokens,
            cached_input_tokens=answer.cached_input_tokens,
            output_tokens=answer.output_tokens,
            cost_usd=self.cost_usd(answer.input_tokens, answer.cached_input_tokens, answer.output_tokens),
        )

    def cost_usd(self, input_tokens: int, cached_input_tokens: int, output_tokens: int) -> float | None:
        """Cost of a number of tokens, the cached ones part of the input; None if a price is unknown.

        It is unknown too where the server counts no tokens and they have a price.
        """
        if self.input is None or self.output is None or (input_tokens == 0 and self.input > 0):
            return None
        cached_price = self.input if self.cached_input is None else self.cached_input
        fresh = input_tokens - cached_input_tokens
        return (fresh * self.input + cached_input_tokens * cached_price + output_tokens * self.output) / 1e6


def prices_of(config: ModelConfig) -> Prices:
    """The prices that a model's config gives."""
    return Prices(config.usd_per_million_input, config.usd_per_million_cached_input, config.usd_per_million_output)
