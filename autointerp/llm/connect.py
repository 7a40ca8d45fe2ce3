"""From a model's config to a language model that can be asked."""

import asyncio
import importlib
import logging
import os
from typing import TYPE_CHECKING, Any

from autointerp.config import ModelConfig
from autointerp.errors import LanguageModelError
from autointerp.llm.journal import Journal
from autointerp.llm.limits.retries import Retries, Sleep
from autointerp.llm.model import ConnectedModel, Terms
from autointerp.llm.protocol import Provider
from autointerp.llm.providers.address import find_address
from autointerp.llm.providers.keys import key_variable, read_key
from autointerp.llm.providers.local.loading import check_installed, model_place
from autointerp.llm.providers.local.provider import LocalProvider

if TYPE_CHECKING:
    from autointerp.llm.batch.sdk import SdkBatches
    from autointerp.llm.providers.manner import Learned
    from autointerp.llm.providers.sdk import SdkProvider

_LOG = logging.getLogger(__name__)


def connect(
    config: ModelConfig,
    journal: Journal,
    *,
    terms: Terms | None = None,
    retry_failures: bool = False,
    retries: Retries | None = None,
    sleep: Sleep = asyncio.sleep,
    provider: Provider | None = None,
) -> "ConnectedModel":
    """Make a language model ready to be asked. Nothing is sent yet.

    Use it in one event loop, and close it there: `async with connect(config, journal) as model`.

    Args:
        config: Which model, where, at what price.
        journal: Keeps what the run pays for.
        terms: Budget, prices and when to stop.
        retry_failures: Whether what was paid and could not be used (a refusal, an answer cut short or unreadable) is
            asked again. By default the journal repeats it, so that a rerun pays nothing.
        retries: How attempts follow each other; by default `config.max_attempts` with the usual waits.
        sleep: How to wait between attempts.
        provider: What sends the calls; by default the provider's SDK, in this process.

    Raises:
        NoKeyError: If the environment holds no key and the provider wants one.
        LanguageModelError: If what the provider needs is not installed, or `base_url` is no address.
        RunError: If it is to be asked by batches, and another process does so over the same journal.
    """
    provider = provider or connect_provider(config)
    batches = None
    if config.batch:
        journal.batches.hold()
        batches = connect_batches(config), journal.batches
    return ConnectedModel(
        config,
        provider,
        journal,
        terms=terms or Terms(),
        retry_failures=retry_failures,
        retries=retries or Retries(config.max_attempts),
        sleep=sleep,
        batches=batches,
    )


def check_access(config: ModelConfig) -> None:
    """See that a model can be asked, as far as that is known before it is: its key, or itself where it runs here.

    Raises:
        NoKeyError: If the environment holds no key and the provider wants one.
        LanguageModelError: If the model's address is none, or a model in this process is not there.
    """
    if config.provider == "local":
        check_installed()
        model_place(config)
    else:
        read_key(config)


def connect_provider(config: ModelConfig, key: str | None = None) -> Provider:
    """Make what sends a model's calls. Nothing is sent, and no model loaded, yet.

    Args:
        config: Which model, where.
        key: The API key; by default from the environment.

    Raises:
        NoKeyError: If the environment holds no key and the provider wants one.
        LanguageModelError: If what the provider needs is not installed, or `base_url` is no address.
    """
    return LocalProvider(config) if config.provider == "local" else connect_sdk(config, key)


def connect_sdk(config: ModelConfig, key: str | None = None, learned: "Learned | None" = None) -> "SdkProvider":
    """Make the client of a model's server. Nothing is sent yet.

    Args:
        config: Which model, where.
        key: The API key; by default from the environment.
        learned: How the model is asked, where others ask it too.

    Raises:
        NoKeyError: If the environment holds no key and the provider wants one.
        LanguageModelError: If the provider's SDK is not installed, or `base_url` is no address.
    """
    address = find_address(config)
    key = read_key(config) if key is None else key
    if address.variable is not None:
        variable = key_variable(config, address) or ""
        held = "the password that it holds" if address.login else f"the key of {variable}"
        signed = f", with {held}" if address.login or os.environ.get(variable) else ""
        _LOG.warning("%s sends the calls of %s to %s%s", address.variable, config.model, address.url, signed)
    try:
        importlib.import_module(config.provider)
    except ImportError:
        raise LanguageModelError(
            f"the package `{config.provider}` is not installed", f"pip install 'autointerp[{config.provider}]'"
        ) from None
    from autointerp.llm.providers.sdk import SdkProvider

    if config.provider == "openai":
        from autointerp.llm.providers.openai import OPENAI as DIALECT
    else:
        from autointerp.llm.providers.anthropic import ANTHROPIC as DIALECT
    return SdkProvider(config, key, DIALECT, learned)


def connect_batches(config: ModelConfig) -> "SdkBatches[Any]":
    """Make the client of a provider's batch endpoint. Nothing is sent yet.

    Raises:
        NoKeyError: If the environment holds no key and the provider wants one.
    """
    if config.provider == "openai":
        from autointerp.llm.batch.openai import OpenAIBatches

        return OpenAIBatches(config, read_key(config))
    from autointerp.llm.batch.anthropic import AnthropicBatches

    return AnthropicBatches(config, read_key(config))
