"""`client.chat`: answers, and what the model expects to come next."""

from collections.abc import Iterable, Sequence

from autointerp.errors import GenerationError
from autointerp.library.backend import Backend
from autointerp.library.chat.asking import Asker, Messages, read_sampling
from autointerp.library.chat.completions import Completions
from autointerp.library.chat.expected import NextLogits, next_logits
from autointerp.library.chat.steering import Model
from autointerp.store.known import check_count, shown


class Chat:
    """Asks the runs' models, plain or as variants.

    Attributes:
        completions: Answers to conversations.

    Args:
        runs: Whose models answer; each is loaded when it is first asked.
    """

    def __init__(self, runs: Sequence[Backend]) -> None:
        self._asker = Asker(runs)
        self.completions = Completions(self._asker)

    def logits(
        self,
        messages: Messages,
        model: Model = None,
        top_k: int | None = 10,
        filter_vocabulary: Iterable[str] | None = None,
        *,
        system_prompt: str | None = None,
    ) -> NextLogits:
        """What the model expects as the answer's first token.

        Args:
            messages: As of `completions.create`.
            model: A variant, a source or a model by name; the only one where None. What ends or handles an answer is
                not asked here; edits where conditions hold are made.
            top_k: Tokens wanted, those with the highest logits; all where None.
            filter_vocabulary: Only these, each a text that is one token.
            system_prompt: As of `completions.create`.

        Returns:
            Logits and probabilities by token, highest first.

        Raises:
            GenerationError: As of `completions.create`, and if a text is not one token.
            SubjectError: As of `completions.create`.
            VariantError: As of `completions.create`.
            SearchError: If `top_k` is no whole number above 0.

        Example:
            >>> messages = [{"role": "user", "content": "the river"}]
            >>> steered = client.variant().set(7, 4.0, unit="max")
            >>> list(client.chat.logits(messages, steered, top_k=1).logits)
            [' piano']
            >>> some = client.chat.logits(messages, steered, filter_vocabulary=["ship", "piano"])
            >>> list(some.logits), some.probabilities["piano"] > 0.9
            (['piano', 'ship'], True)
        """
        if top_k is not None:
            check_count("top_k", top_k)
        asked = self._asker.ask(messages, model, system_prompt, tells_events=False)
        generator = asked.steering.run.live.generator(asked.steering.source)
        (values,) = generator.next_logits([self._asker.request(asked, read_sampling(1, None, None, None, None))])
        return next_logits(asked, values, top_k, filter_vocabulary)

    @property
    def template(self) -> str | None:
        """File of a chat template (Jinja), for a model without one of its own; None for the corpus's or the model's.

        Example:
            >>> client.chat.template is None
            True
        """
        return self._asker.template

    @template.setter
    def template(self, file: str | None) -> None:
        if not (file is None or isinstance(file, str)):
            raise GenerationError(f"{shown(file)} is no file of a chat template", "give its path as a text, or None")
        self._asker.template = file
