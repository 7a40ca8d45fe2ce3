"""Notes beside a run that a server answers for: they are kept there, and read from there."""

from collections.abc import Iterable, Sequence
from typing import Any, NoReturn, Protocol, TypeVar

from autointerp.errors import AutointerpError, NoteError
from autointerp.library.remote import calls
from autointerp.library.remote.calls import Call
from autointerp.records.notes import Comment, FeatureNotes, ListedFeature, ListFacts, OwnLabel, Star
from autointerp.records.uploads import UploadedModel, UploadedSet
from autointerp.store.notes.base import Named
from autointerp.store.notes.notes import Notes

R = TypeVar("R")


class Asks(Protocol):
    """Asks the server about the run."""

    def __call__(self, call: Call[Any, R], error: type[AutointerpError], /, **asked: Any) -> R: ...


class RemoteNotes(Notes):
    """The notes beside one run of a server; methods and errors are those of `store.notes.notes.Notes`.

    Args:
        ask: Asks the server.
    """

    def __init__(self, ask: Asks) -> None:
        self._ask = ask

    def star(self, feature: Named) -> None:
        """Star a feature; one that is starred stays so."""
        self._ask(calls.STAR, NoteError, feature=_name(feature), starred=True)

    def unstar(self, feature: Named) -> None:
        """Take a feature's star away, if it has one."""
        self._ask(calls.STAR, NoteError, feature=_name(feature), starred=False)

    def stars(self) -> list[Star]:
        """The stars, newest first."""
        return self._ask(calls.STARS, NoteError)

    def vote(self, feature: Named, explanation_id: str, value: int, author: str = "") -> None:
        """Vote for a label (1), against it (-1), or take one's vote back (0)."""
        self._ask(
            calls.VOTE, NoteError, feature=_name(feature), explanation_id=explanation_id, value=value, author=author
        )

    def comment(self, feature: Named, text: str, author: str = "") -> Comment:
        """Comment on a feature."""
        return self._ask(calls.COMMENT, NoteError, feature=_name(feature), text=text, author=author)

    def delete_comment(self, comment_id: str) -> None:
        """Take a comment away."""
        self._ask(calls.DELETE_COMMENT, NoteError, id=str(comment_id))

    def of_features(self, features: Iterable[Named] | None = None) -> dict[Named, FeatureNotes]:
        """All that people have written about some features, or about all that anything is written about."""
        named = None if features is None else [_name(feature) for feature in dict.fromkeys(features)]
        if named == []:
            return {}
        return {(source, index): notes for source, index, notes in self._ask(calls.NOTES, NoteError, features=named)}

    def feature_of_label(self, explanation_id: str) -> Named | None:
        """The feature that a label, of the run or of one's own, is of; None where there is no such label."""
        return self._ask(calls.FEATURE_OF_LABEL, NoteError, id=str(explanation_id))

    def delete_label(self, explanation_id: str) -> None:
        """Take a label of one's own away, and the votes on it."""
        self._ask(calls.DELETE_LABEL, NoteError, id=str(explanation_id))

    def labels(self) -> list[OwnLabel]:
        """All labels that people wrote, oldest first."""
        return self._ask(calls.LABELS, NoteError)

    def new_list(self, name: str, description: str = "", test_text: str = "") -> ListFacts:
        """Begin a list."""
        return self._ask(calls.NEW_LIST, NoteError, name=name, description=description, test_text=test_text)

    def change_list(
        self, list_id: str, name: str | None = None, description: str | None = None, test_text: str | None = None
    ) -> ListFacts:
        """Change what is said of a list; what is None stays."""
        return self._ask(
            calls.CHANGE_LIST, NoteError, id=str(list_id), name=name, description=description, test_text=test_text
        )

    def delete_list(self, list_id: str) -> None:
        """Take a list away; its features stay."""
        self._ask(calls.DELETE_LIST, NoteError, id=str(list_id))

    def lists(self) -> list[ListFacts]:
        """All lists, the one that was changed last first."""
        return self._ask(calls.LISTS, NoteError)

    def list_facts(self, list_id: str) -> ListFacts:
        """What is said of a list."""
        return self._ask(calls.LIST_FACTS, NoteError, id=str(list_id))

    def listed(self, list_id: str) -> list[ListedFeature]:
        """The features of a list, in its order."""
        return self._ask(calls.LISTED, NoteError, id=str(list_id))

    def add_to_list(self, list_id: str, features: Iterable[ListedFeature]) -> ListFacts:
        """Put features at the end of a list; of one that it has already, its place stays."""
        some = [{**_name((of.source_id, of.feature_index)), "note": of.note} for of in features]
        return self._ask(calls.ADD_TO_LIST, NoteError, id=str(list_id), features=some)

    def remove_from_list(self, list_id: str, features: Iterable[Named]) -> ListFacts:
        """Take features out of a list, if they are in it."""
        return self._ask(calls.REMOVE_FROM_LIST, NoteError, id=str(list_id), features=list(map(_name, features)))

    def order_list(self, list_id: str, features: Sequence[Named]) -> ListFacts:
        """Put the features of a list into another order."""
        return self._ask(calls.ORDER_LIST, NoteError, id=str(list_id), features=list(map(_name, features)))

    def keep_label(self, label: OwnLabel) -> None:
        """Labels are scored and kept by the server: `RemoteRun.write_label`."""
        _only_there("keep a label")

    def new_model(self, model_id: str, layers: int, name: str = "", url: str = "") -> UploadedModel:
        """Uploads need the folder, or Neuronpedia's API."""
        _only_there("name a model")

    def model(self, model_id: str) -> UploadedModel:
        """Uploads need the folder, or Neuronpedia's API."""
        _only_there("ask for a model")

    def new_source_set(self, model_id: str, name: str, description: str = "", url: str = "") -> UploadedSet:
        """Uploads need the folder, or Neuronpedia's API."""
        _only_there("name a source set")

    def source_set(self, model_id: str, name: str) -> UploadedSet:
        """Uploads need the folder, or Neuronpedia's API."""
        _only_there("ask for a source set")


def _name(feature: Named) -> dict[str, Any]:
    return {"source": feature[0], "index": int(feature[1])}


def _only_there(what: str) -> NoReturn:
    raise NoteError(f"a client of a server can't {what}", "do it beside the run's folder, or by the server's own API")
