"""What a pipeline file says of the language models that are asked."""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from autointerp.config.frozen import Frozen
from autointerp.config.secrets import check_address, check_variable

_OF_SERVERS = frozenset(
    {"base_url", "api_key_env", "timeout_s", "max_attempts", "requests_per_minute", "tokens_per_minute"}
    | {"batch", "batch_size", "batch_poll_s"}
    | {f"usd_per_million_{what}" for what in ("input", "cached_input", "cache_write", "output")}
)
_LOCAL_OUTPUT = 512
_OF_LOCAL = frozenset({"device", "dtype", "revision"})


class ModelConfig(Frozen):
    """A language model. Keys come from the environment only, never from here."""

    provider: Literal["openai", "anthropic", "local"] = Field(
        "openai", description="whose protocol the server speaks; local: a model of transformers in this process"
    )
    model: str = Field(
        "gpt-5-mini", description="the provider's name of it; of local: packaged:NAME, a folder, or a name on the hub"
    )
    revision: str | None = Field(None, description="of local: revision on the hub")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="of local: of the weights")
    device: str = Field("auto", description="of local: auto, cpu, cuda, cuda:1, mps")
    base_url: str | None = Field(None, description="another server of the same protocol: vLLM, llama.cpp, Ollama, …")
    api_key_env: str | None = Field(
        None, description="environment variable with the key; unset: the provider's, sent to it alone"
    )
    temperature: float | None = Field(
        None, ge=0, le=2, description="unset: the provider's default; of local: 0, the likeliest answer"
    )
    max_output_tokens: int = Field(
        4096,
        gt=0,
        description="per call at most, a reasoning model's thoughts included; less where the window is small;"
        f" of local: {_LOCAL_OUTPUT}, as a small model may never come to an end",
    )
    timeout_s: float = Field(60.0, gt=0, description="per attempt")
    max_attempts: int = Field(6, gt=0, description="of one call, on 500, timeouts, dropped connections")
    concurrency: int = Field(64, gt=0, description="calls in flight at most; fewer while the server is overloaded")
    requests_per_minute: int | None = Field(None, gt=0, description="unset: as the server's headers say, if they do")
    tokens_per_minute: int | None = Field(None, gt=0, description="in and out; unset: as the server's headers say")
    context_window: int | None = Field(
        None, gt=0, description="tokens the model reads and writes at most; unset: told by the server's refusals"
    )
    tokenizer: str | None = Field(
        None, description="folder or hub name of the model's tokenizer, to count a dry run's tokens; unset: estimated"
    )
    batch: bool = Field(False, description="use the provider's batch endpoint: half the price, answers within a day")
    batch_size: int = Field(10_000, gt=0, description="requests in one batch at most")
    batch_poll_s: float = Field(30.0, gt=0, description="wait between looks at a batch")
    usd_per_million_input: float | None = Field(None, ge=0, description="price; unset: as llm.prices says, or unknown")
    usd_per_million_cached_input: float | None = Field(None, ge=0, description="price; unset: as input")
    usd_per_million_cache_write: float | None = Field(
        None, ge=0, description="price of input that the provider writes to its cache; unset: as input"
    )
    usd_per_million_output: float | None = Field(None, ge=0, description="price; unset: as llm.prices says, or unknown")

    @model_validator(mode="before")
    @classmethod
    def _room_of_its_kind(cls, said: Any) -> Any:
        if isinstance(said, dict) and said.get("provider") == "local":
            return {"max_output_tokens": _LOCAL_OUTPUT, **said}
        return said

    @model_validator(mode="after")
    def _keys_of_its_kind(self) -> Self:
        other = _OF_SERVERS if self.provider == "local" else _OF_LOCAL
        odd = sorted(name for name in self.model_fields_set & other if getattr(self, name) != self._default(name))
        if odd and self.provider == "local":
            raise ValueError(f'{odd[0]} is of servers, and a model of provider = "local" runs in this process')
        if odd:
            raise ValueError(f'{odd[0]} is of models in this process (provider = "local"), and of no server\'s')
        if self.provider == "local" and "model" not in self.model_fields_set:
            raise ValueError('provider = "local" needs a model: packaged:NAME, a folder, or a name on the hub')
        return self

    @classmethod
    def _default(cls, name: str) -> object:
        return cls.model_fields[name].default

    @field_validator("base_url")
    @classmethod
    def _address_without_secrets(cls, base_url: str | None) -> str | None:
        if base_url is not None:
            check_address(base_url)
        return base_url

    @field_validator("api_key_env")
    @classmethod
    def _variable_and_no_key(cls, name: str | None) -> str | None:
        if name is not None:
            check_variable(name)
        return name


class LlmConfig(Frozen):
    """What all language models of a run share."""

    max_cost_usd: float | None = Field(
        None, gt=0, description="the run folder's calls may cost this at most, earlier runs' included; needs prices"
    )
    max_failed_share: float = Field(
        0.5, gt=0, le=1, description="stop when more than this share of the questions to a model fails; 1: never"
    )
    patience_s: float = Field(
        600.0, gt=0, description="how long a call waits for a server that is overloaded or out of reach"
    )
    prices: str | None = Field(None, description="TOML file of prices by model; unset: the one that comes with us")
    journal: str | None = Field(
        None, description="file of paid answers, to be shared between runs; unset: one in the run folder"
    )
