"""What calls cost: a price that is not there is unknown, never zero."""

from dataclasses import dataclass

from autointerp.config import ModelConfig
from autointerp.llm.protocol import RawAnswer
from autointerp.records import Usage


@dataclass(frozen=True, slots=True)
class Prices:
    """USD per million tokens.

    Attributes:
        input: Of input that is neither read from the provider's cache nor written to it; None if unknown.
        cached_input: Of input that is read from it; by default as `input`.
        output: Of output; None if unknown.
        cache_write: Of input that is written to it; by default as `input`.
        share: Of the price that is paid: a batch endpoint asks for half.
        source: Where the prices stand, for whoever reads them.
    """

    input: float | None
    cached_input: float | None
    output: float | None
    cache_write: float | None = None
    share: float = 1.0
    source: str = "the pipeline file"

    @property
    def are_known(self) -> bool:
        """Whether a call's cost can be told."""
        return self.input is not None and self.output is not None

    def usage(self, answer: RawAnswer) -> Usage:
        """What one paid answer used and cost."""
        return Usage(
            n_calls=1,
            input_tokens=answer.input_tokens,
            cached_input_tokens=answer.cached_input_tokens,
            output_tokens=answer.output_tokens,
            cost_usd=self.cost_usd(
                answer.input_tokens, answer.cached_input_tokens, answer.output_tokens, answer.cache_write_tokens
            ),
        )

    def cost_usd(
        self, input_tokens: float, cached_input_tokens: float, output_tokens: float, cache_write_tokens: float = 0
    ) -> float | None:
        """Cost of a number of tokens, those read from and written to the cache part of the input; None if unknown.

        It is unknown too where the server counts no tokens and they have a price.
        """
        if self.input is None or self.output is None or (input_tokens == 0 and self.input > 0):
            return None
        cached_price = self.input if self.cached_input is None else self.cached_input
        write_price = self.input if self.cache_write is None else self.cache_write
        fresh = input_tokens - cached_input_tokens - cache_write_tokens
        parts = (
            fresh * self.input,
            cached_input_tokens * cached_price,
            cache_write_tokens * write_price,
            output_tokens * self.output,
        )
        return sum(parts) * self.share / 1e6

    def most_usd(self, input_tokens: float, output_tokens: float) -> float | None:
        """The most that so many tokens can cost, written to the provider's cache or not; None if unknown."""
        fresh = self.cost_usd(input_tokens, 0, output_tokens)
        written = self.cost_usd(input_tokens, 0, output_tokens, input_tokens)
        return None if fresh is None or written is None else max(fresh, written)


def prices_of(config: ModelConfig) -> Prices:
    """The prices that a model's config gives."""
    return Prices(
        config.usd_per_million_input,
        config.usd_per_million_cached_input,
        config.usd_per_million_output,
        config.usd_per_million_cache_write,
        share=0.5 if config.batch else 1.0,
    )
