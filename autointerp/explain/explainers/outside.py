"""The explainer `outside`: labels that somebody else wrote, read from a file (`label_files`), to be scored like ours.

Where the file holds labels of several authors, `explain.author` names the one whose are taken; then only those rows
count. Everything that is wrong with the file stops the run before any work, with the places named: a label that went
astray would be scored as its author's. What a label says is not judged: a refusal in words, or a full stop, is
somebody's label all the same, and may be a true one.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autointerp.config import ExplainConfig
from autointerp.errors import PipelineError
from autointerp.explain.base import BaseExplainer, Tools
from autointerp.explain.label_files.read import UNKNOWN_AUTHOR, OutsideLabels, read_labels
from autointerp.records import Explanation, Failure, FeatureEvidence


class OutsideExplainer(BaseExplainer):
    """An explainer that gives each feature the label that the file has for it.

    Args:
        tools: With a config that names the file.

    Raises:
        PipelineError: If something is wrong with the file.
    """

    name = "outside"
    reads_labels = True

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        labels = outside_labels(tools.config)
        self._path = labels.path
        self._labels = {(label.source_id, label.feature_index): label for label in labels.labels}

    @classmethod
    def settings(cls, config: ExplainConfig) -> Sequence[Any]:
        """What the labels say.

        Raises:
            PipelineError: If something is wrong with the file.
        """
        return (outside_labels(config).fingerprint,)

    @classmethod
    def labelled(cls, config: ExplainConfig, n_features: Mapping[str, int]) -> Mapping[str, Sequence[int]]:
        """The features of the file.

        Raises:
            PipelineError: If something is wrong with the file.
        """
        labels = outside_labels(config).by_source(n_features)
        return {source_id: sorted(of_source) for source_id, of_source in labels.items()}

    async def explain(self, evidence: FeatureEvidence) -> Explanation | Failure:
        """Give the file's label; `NoLabel` where it has none."""
        index = evidence.feature_index
        label = self._labels.get((evidence.source_id, index)) or self._labels.get((None, index))
        if label is None:
            return self.failure(evidence, "NoLabel", f"{self._path} has no label for it")
        detail = {"file": self._path.name, "place": label.place, **label.said}
        return self.explanation(evidence, label.label, model=label.author or UNKNOWN_AUTHOR, detail=detail)


def outside_labels(config: ExplainConfig) -> OutsideLabels:
    """The labels that a pipeline with the explainer `outside` takes.

    Raises:
        PipelineError: If something is wrong with the file.
    """
    if config.labels is None:
        raise PipelineError("the explainer 'outside' reads labels from a file", "name it as explain.labels")
    return read_labels(Path(config.labels).expanduser(), config.author)
