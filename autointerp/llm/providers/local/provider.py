"""A `Provider` whose model runs in this process."""

import asyncio

from autointerp.config import ModelConfig
from autointerp.identity import fingerprint
from autointerp.llm.protocol import AnswerT, Repair, Request, Sent
from autointerp.llm.providers.local.loading import check_installed, model_identity
from autointerp.llm.providers.local.worker import LocalModel, give_back, shared_model

_DIGITS = 16


class LocalProvider:
    """One attempt at a model in this process; see `protocol.Provider`. It is loaded at the first question.

    Args:
        config: The model.

    Attributes:
        base_url: What the model is, by the content of its weights where they are on this machine.

    Raises:
        LanguageModelError: If what it needs is not installed.
    """

    def __init__(self, config: ModelConfig) -> None:
        check_installed()
        self._config = config
        self._model: LocalModel | None = None
        self.base_url = f"local:{fingerprint(*model_identity(config))[:_DIGITS]}"

    async def send(self, request: Request[AnswerT], repair: Repair | None) -> Sent:
        """Ask, together with what others ask at the same time.

        Raises:
            LanguageModelError: If the model can't be loaded.
        """
        self._model = self._model or shared_model(self._config)
        return await asyncio.wrap_future(self._model.ask(request, repair))

    async def close(self) -> None:
        """Let another model have the room, where it is needed."""
        if self._model is not None:
            give_back(self._model)
            self._model = None
