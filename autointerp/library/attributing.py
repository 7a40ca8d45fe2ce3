"""Attributions, as runs and clients give them."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, SupportsIndex

from autointerp.library.attribution import Attribution, asked_token
from autointerp.library.dosed import DosedFeatures, DosedRun
from autointerp.library.feature import FeatureGroup
from autointerp.library.names import SomeFeatures

if TYPE_CHECKING:
    from autointerp.live.read import Readable
    from autointerp.records.attribution import AskedToken, TokenAttribution


class AttributingRun(DosedRun):
    """A run that tells what pushes a token."""

    def attribution(self, text: "Readable", asked: "AskedToken", source_id: str | None = None) -> "TokenAttribution":
        """What the features of one source do to one token's chance of being the next; see `live.attribution`.

        Args:
            text: A text, or a list of messages.
            asked: Which token, and how it is measured.
            source_id: The source; the run's only one where None.

        Raises:
            As `firings`; SubjectError also if the model has no language-model head, or there is no such token.
        """
        from autointerp.live.attribution import attribute  # looking a feature up needs no torch

        source = self.reader.source(source_id)
        return attribute(self.live.of_source(source), source.source_id, text, asked)


class AttributingFeatures(DosedFeatures, ABC):
    """Features that are asked what pushes a token."""

    @abstractmethod
    def lookup(self, features: SomeFeatures, source: str | None = None) -> FeatureGroup:
        """Features by their names."""

    def attribute(
        self,
        text: "Readable",
        index: SupportsIndex | str = "last",
        *,
        instead_of: str | int | None = None,
        measure: str = "log_prob",
        n_removed: int = 0,
        n_steps: int = 0,
        source: str | None = None,
    ) -> Attribution:
        """Find which features, at which tokens, push one token of a text; docs/attribute.md goes on from here.

        The token is predicted from those before it, which the model reads at once.

        Args:
            text: A text, or a list of messages.
            index: The token's place among those of the text (`client.features.inspect(text).tokens`), from the end
                where below 0; `last` for the last that is no special token and, in a conversation, of a message.
            instead_of: Another token, by its text (with the space before it) or its id: what pushes the one rather than
                the other is asked.
            measure: What is pushed where there is no other: its `log_prob`, or its `logit`.
            n_removed: Of so many firings, those that push most by gradient times activation, it is measured what
                happens without them, one by one.
            n_steps: Of integrated gradients, each a pass forward and back; none where 0.
            source: The source; the only one where None.

        Raises:
            SubjectError: If the model has no language-model head, there is no such token, or nothing that counts stands
                before it.
            SearchError: If there is no such measure, or a number makes no sense.

        Example:
            >>> pushed = client.features.attribute("this is the ship on the river", 4, instead_of="river")
            >>> pushed.tokens[4], pushed.top(1)[0].position < 4
            (' on', True)
        """
        asked = asked_token(index, instead_of, measure, n_removed, n_steps)
        run, of, _ = self._names.one("0", source)
        return Attribution(run.attribution(text, asked, of), lambda some: self.lookup(some, of))
