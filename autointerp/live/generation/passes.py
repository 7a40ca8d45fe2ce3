"""One forward pass of the subject under edits: what is read next in some texts, and what features do there."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from autointerp.errors import SubjectError
from autointerp.live.edits import listen
from autointerp.live.generation.cache import TextCache
from autointerp.live.generation.changes import Change, Editors, SourceEditor
from autointerp.live.next_token import OutputHead
from autointerp.live.subject import LiveSubject
from autointerp.records.live import FeatureName
from autointerp.subject.hooks import HookPoint

Features = Mapping[str, tuple[int, ...]]
"""Features to be read, by source."""


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """What a pass has read.

    Attributes:
        logits: Of what comes after each text's last token, in float32.
        activations: Of the features that were asked for, at each token, text by text, before any edit.
    """

    logits: Float32[Tensor, "text token"]
    activations: Mapping[FeatureName, Float32[Tensor, " token"]]


class Reader:
    """Runs a subject; several threads may.

    Args:
        live: The subject.
        head: Its head.
        editors: Its sources, as they are edited.
    """

    def __init__(self, live: LiveSubject, head: OutputHead, editors: Editors) -> None:
        self._live, self._head, self._editors = live, head, editors
        model: Any = live.sources.subject.model
        self._model, self._n_layers = model, int(model.config.get_text_config().num_hidden_layers)

    @property
    def device(self) -> torch.device:
        """Where the subject runs."""
        return self._live.sources.subject.device

    def new_cache(self, lengths: Sequence[int] = (0,)) -> TextCache:
        """An empty cache of the subject's, for texts of some lengths."""
        return TextCache(self._n_layers, lengths)

    @torch.inference_mode()
    def read(
        self,
        token_ids: Sequence[Sequence[int]],
        changes: Sequence[tuple[SourceEditor, Change]],
        features: Features,
        cache: TextCache | None = None,
    ) -> Read:
        """Read on in some texts.

        Args:
            token_ids: As many in each text; with those before a text that begins here, where another is longer.
            changes: Edits of these tokens.
            features: To be read.
            cache: What was read before, a row each; is added to. Without, the texts begin here.

        Raises:
            SubjectError: If a coder reads behind where it writes.
        """
        given: dict[str, Any] = {"input_ids": torch.tensor(token_ids, device=self.device), "use_cache": False}
        if cache is not None:
            cache.make_room()
            given |= {"past_key_values": cache.for_model, "use_cache": True}
            if cache.n_rows > 1:
                n_next = len(token_ids[0])
                mask, positions = cache.mask(self.device, n_next), cache.positions(self.device, n_next)
                given |= {"attention_mask": mask, "position_ids": positions}
        read: dict[FeatureName, Tensor] = {}
        with ExitStack() as stack:
            self._listen(stack, changes, features, read)
            hidden: Tensor = self._model(**given).last_hidden_state
        if cache is not None:
            cache.advance(len(token_ids[0]))
        return Read(self._head.logits(hidden[:, -1]), read)

    def _listen(
        self,
        stack: ExitStack,
        changes: Sequence[tuple[SourceEditor, Change]],
        features: Features,
        read: dict[FeatureName, Tensor],
    ) -> None:
        """Have features read, and then edits made, in this thread's pass."""
        thread = threading.get_ident()  # another thread may run the same modules at once

        def at(hook: HookPoint, do: Any) -> None:
            handle = listen(hook, do, thread)
            stack.callback(handle.remove)

        def look(source_id: str, hidden: Tensor) -> Tensor:
            reader = self._editors.reader(source_id)
            rows = value_at(reader.source.hook, hidden).flatten(0, 1)
            found = reader.some(features[source_id]).activations(rows)
            read.update({(source_id, feature): found[:, n] for n, feature in enumerate(features[source_id])})
            return hidden

        for source_id in features:
            at(self._editors.reader(source_id).source.hook, partial(look, source_id))
        for editor, change in changes:
            self._edit(at, editor, change)

    @contextmanager
    def under(self, changes: Sequence[tuple[SourceEditor, Change]]) -> Iterator[None]:
        """Have this thread's passes edited, while the `with` block lasts.

        Args:
            changes: Edits of the tokens of each pass.
        """
        with ExitStack() as stack:
            self._listen(stack, changes, {}, {})
            yield

    def _edit(self, at: Any, editor: SourceEditor, change: Change) -> None:
        source, kept = editor.source, list[Tensor]()

        def keep(hidden: Tensor) -> Tensor:
            kept.append(value_at(source.hook, hidden))
            return hidden

        def edit(hidden: Tensor) -> Tensor:
            if editor.hook is source.hook:
                return editor.edit(change, hidden, value_at(source.hook, hidden))
            if not kept:
                raise SubjectError(
                    f"the coder {source.coder.origin} reads {source.hook.name} after it writes {editor.hook.name}",
                    "its features can't be edited",
                )
            return editor.edit(change, hidden, kept[0])

        if editor.hook is not source.hook:
            at(source.hook, keep)
        at(editor.hook, edit)


def value_at(hook: HookPoint, hidden: Float[Tensor, "text position d_hook"]) -> Float[Tensor, "text position d_hook"]:
    """A hook point's value, of what its module gets or gives."""
    return hidden if hook.adjust is None else hook.adjust(hidden)
