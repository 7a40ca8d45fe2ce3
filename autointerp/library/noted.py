"""What people write about a feature: stars, votes and comments, kept beside its run."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from autointerp.errors import UnknownNoteError
from autointerp.records.notes import Comment, FeatureNotes, OwnLabel
from autointerp.store.known import shown

if TYPE_CHECKING:
    from autointerp.library.backend import Backend
    from autointerp.library.conditions import FeatureName
    from autointerp.library.feature_view import FeatureView


class NotedFeature(ABC):
    """A feature that can be starred, voted on and commented on."""

    __slots__ = ()

    @abstractmethod
    def _asked(self) -> "Backend":
        """The run that tells of it."""

    @abstractmethod
    def names(self) -> "tuple[FeatureName, ...]":
        """Its source and index, alone."""

    @abstractmethod
    def view(self) -> "FeatureView":
        """All that the run knows of it."""

    def star(self) -> None:
        """Star it, to find it again: `client.starred()`. The star, like all notes, is kept beside the run.

        Raises:
            NoteError: If the run's folder can't be written.

        Example:
            >>> client.features.get(1).star()
            >>> [feature.label for feature in client.starred()]
            ['river']
            >>> client.features.get(1).unstar()
        """
        self._asked().notes.star(self._known())

    def unstar(self) -> None:
        """Take its star away, if it has one.

        Example:
            >>> client.features.get(1).unstar()
            >>> client.features.get(1).notes().is_starred
            False
        """
        self._asked().notes.unstar(self._known())

    def comment(self, text: str, author: str = "") -> Comment:
        """Say something of it.

        Args:
            text: Of one line or several.
            author: Who says so.

        Raises:
            NoteError: If the text is empty or too long, or the run's folder can't be written.

        Example:
            >>> said = client.features.get(1).comment("Also fires on brooks.", author="Ada")
            >>> [comment.text for comment in client.features.get(1).notes().comments]
            ['Also fires on brooks.']
            >>> client.run.notes.delete_comment(said.comment_id)
        """
        return self._asked().notes.comment(self._known(), text, author)

    def vote(self, value: int = 1, author: str = "", explanation_id: str | None = None) -> None:
        """Vote for or against one of its labels; who votes again, changes the vote.

        Args:
            value: 1 for the label, -1 against it, 0 to take the vote back.
            author: Whose vote it is.
            explanation_id: Of the label; the best one's where None.

        Raises:
            UnknownNoteError: If the feature has no such label.
            NoteError: If it is no such value, or the run's folder can't be written.

        Example:
            >>> feature = client.features.get(1)
            >>> feature.vote(1, author="Ada")
            >>> feature.notes().approval(feature.explanation_id)
            1
            >>> feature.vote(0, author="Ada")
        """
        labels = [scored.explanation for scored in self.view().labels if not scored.explanation.is_baseline]
        known = [label.explanation_id for label in labels]
        if explanation_id is None and known:
            explanation_id = known[0]
        if explanation_id is None or explanation_id not in known:
            told = "the feature has no label" if explanation_id is None else f"it has no label {shown(explanation_id)}"
            raise UnknownNoteError(told, "vote on one that it has")
        self._asked().notes.vote(self.names()[0], explanation_id, value, author)

    def write_label(self, label: str, author: str = "") -> OwnLabel:
        """Write a label of one's own, which is scored at once by the judges that need no key, and kept beside the run.

        It then is a label of the feature like the others (`view().labels`, by the explainer `own`), with its trials.
        Scoring takes seconds the first time, when what the run has collected is read.

        Args:
            label: One line.
            author: Who writes it.

        Raises:
            NoteError: If the label is no line of some length, or the run's folder can't be written.
            RunError: If the run's folder is not whole.

        Example:
            >>> own = client.features.get(1).write_label("rivers", author="Ada")
            >>> {score.scorer: score.value > 0.9 for score in own.scores}["detection"]
            True
            >>> [scored.explanation.explainer for scored in client.features.get(1).view().labels[:2]]
            ['outside', 'own']
            >>> client.delete_label(own.explanation_id)
        """
        (name,) = self.names()
        return self._asked().write_label(name[1], label, author, name[0])

    def notes(self) -> FeatureNotes:
        """What people have written about it.

        Example:
            >>> client.features.get(1).notes().is_starred
            False
        """
        return self._asked().notes.of_feature(self.names()[0])

    def _known(self) -> "FeatureName":
        """Its name, if the run still knows it.

        Raises:
            UnknownFeatureError: If it does not.
        """
        (name,) = self.names()
        self._asked().describe([name[1]], name[0])
        return name
