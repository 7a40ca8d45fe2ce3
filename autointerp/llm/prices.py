"""What calls cost, and where a model's prices stand: in the pipeline file, in the user's own file, or in ours.

1. The keys of the model's table in the pipeline file go before everything.
2. `llm.prices` names a file of the user's, of the form of `data/prices.toml`: by provider and model.
3. Ours says what the providers themselves ask, so it holds only where no other server is named.

What none of them says is unknown, never zero. A model's name may carry a date that its entry lacks.
"""

import datetime
import re
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autointerp.assets import asset_folder
from autointerp.config import LlmConfig, ModelConfig
from autointerp.errors import PipelineError
from autointerp.llm.protocol import RawAnswer
from autointerp.llm.providers.address import find_address
from autointerp.records import Usage

_DATE = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{8})$")
_FORM = 'its form is that of data/prices.toml: tables [openai."MODEL"] and [anthropic."MODEL"]'

_Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class Prices:
    """USD per million tokens.

    Attributes:
        input: Price of input that is neither read from the provider's cache nor written to it; None if unknown.
        cached_input: Price of input that is read from it; by default as `input`.
        output: Price of output; None if unknown.
        cache_write: Price of input that is written to it; by default as `input`.
        share: Share of these prices that is paid: a batch endpoint asks for half.
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
        if self.input is None or self.output is None or (input_tokens == 0 and max(self.input, self.output) > 0):
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
    """The prices that a model's config gives; a model in this process costs nothing."""
    if config.provider == "local":
        return Prices(0.0, 0.0, 0.0, source="it runs in this process")
    return Prices(
        config.usd_per_million_input,
        config.usd_per_million_cached_input,
        config.usd_per_million_output,
        config.usd_per_million_cache_write,
        share=0.5 if config.batch else 1.0,
    )


class _Entry(BaseModel):
    """One model's table in a file of prices; what its keys mean is said in `data/prices.toml`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    input: _Price
    output: _Price
    cached_input: _Price | None = None
    cache_write: _Price | None = None
    min_cached_tokens: int | None = Field(None, ge=0)
    as_of: datetime.date | None = None
    source: str | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    openai: dict[str, _Entry] = {}
    anthropic: dict[str, _Entry] = {}

    def entries(self, provider: str) -> dict[str, _Entry]:
        return self.openai if provider == "openai" else self.anthropic


def find_prices(config: ModelConfig, llm: LlmConfig) -> Prices:
    """A model's prices; `source` says where they stand.

    Raises:
        PipelineError: If the file that `llm.prices` names is missing or not of the form.
        LanguageModelError: If the model's address is none.
    """
    in_table = prices_of(config)
    if config.provider == "local":
        return in_table
    found = _find_entry(config, llm)
    if found is None:
        return in_table if in_table.are_known else replace(in_table, source="nowhere")
    entry, source = found
    if in_table.are_known:
        source = in_table.source
    # A list's prices of cached input belong to its price of input, not to one that the user has agreed.
    own_input = in_table.input is not None
    return Prices(
        _first(in_table.input, entry.input),
        _first(in_table.cached_input, None if own_input else entry.cached_input),
        _first(in_table.output, entry.output),
        _first(in_table.cache_write, None if own_input else entry.cache_write),
        share=in_table.share,
        source=source,
    )


def min_cached_tokens(config: ModelConfig, llm: LlmConfig) -> int | None:
    """Tokens that a prompt's fixed part must have to be read from the provider's cache; None for never.

    A server that no file knows may cache too, but not at a price that is known.

    Raises:
        PipelineError: As from `find_prices`.
    """
    if config.provider == "local":
        return None
    found = _find_entry(config, llm)
    if found is not None and found[0].min_cached_tokens is not None:
        return found[0].min_cached_tokens
    if _is_elsewhere(config):
        return None
    known = (entry.min_cached_tokens for entry in _our_file().entries(config.provider).values())
    return max(n for n in known if n is not None)


def _first(*prices: float | None) -> float | None:
    """The first that is there."""
    return next((price for price in prices if price is not None), None)


def _find_entry(config: ModelConfig, llm: LlmConfig) -> tuple[_Entry, str] | None:
    """The entry of a model, and where it stands."""
    if llm.prices is not None:
        path = Path(llm.prices).expanduser()
        entry = _of_model(_read_file(path), config)
        if entry is not None:
            return entry, str(path)
    if _is_elsewhere(config):
        return None
    entry = _of_model(_our_file(), config)
    return None if entry is None else (entry, f"{entry.source}, {entry.as_of}")


def _is_elsewhere(config: ModelConfig) -> bool:
    """Whether another server than the provider's own is asked."""
    return not find_address(config).is_own


def _of_model(file: _File, config: ModelConfig) -> _Entry | None:
    entries = file.entries(config.provider)
    return entries.get(config.model) or entries.get(_DATE.sub("", config.model))


@cache
def _our_file() -> _File:
    return _read_file(asset_folder("data") / "prices.toml")


def _read_file(path: Path) -> _File:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PipelineError(
            f"the file of prices {path} can't be read ({error.strerror})", "correct llm.prices"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PipelineError(f"the file of prices {path} is not valid TOML ({error})", "mend that line") from error
    try:
        return _File.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        what = "there is no such key" if first["type"] == "extra_forbidden" else first["msg"]
        raise PipelineError(f"the file of prices {path}: {place}: {what}", _FORM) from error
