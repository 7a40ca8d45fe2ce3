"""A feature with its labels, contexts and notes: `GET /api/feature/{model}/{source}/{index}`.

The shape is that of Neuronpedia's bulk files, which `export.neuronpedia` writes, with what a request for one feature
has besides. Scores stand where theirs would, under names of our own scorers: theirs of the like measure something else.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import APIRouter, Request

from autointerp.export.neuronpedia import FeatureLines
from autointerp.library.feature import Feature
from autointerp.records.notes import FeatureNotes
from autointerp.serve.neuronpedia.paths import Paths, in_its_words, source_of
from autointerp.serve.serving import Serving


def add_routes(routes: APIRouter, serving: Serving) -> None:
    """Answer for features."""
    paths = Paths(routes)

    @paths.get("/feature/{model:path}/{source}/{index}")
    async def get(request: Request, model: str, source: str, index: int) -> Any:
        def found() -> dict[str, Any]:
            feature = serving.client.features.get(index, source_of(serving.names, model, source))
            return told_feature(feature, feature.neuronpedia_lines(), feature.notes())

        return await serving.store.answer(request, found)


def told_feature(feature: Feature, lines: FeatureLines, notes: FeatureNotes) -> dict[str, Any]:
    """A feature as that API tells it."""
    name = in_its_words(feature.id)
    approval = {vote.explanation_id: notes.approval(vote.explanation_id) for vote in notes.votes}
    return {
        **lines.feature,
        "createdAt": lines.created_at,
        "vectorDefaultSteerStrength": None,
        "correlated_features_indices": [],
        "correlated_features_pearson": [],
        "correlated_features_l1": [],
        "umap_x": None,
        "umap_y": None,
        "umap_cluster": None,
        "activations": [
            {
                **activation,
                # The top group has -1 in the files, which that client refuses to read as a share.
                "binContains": None if activation["binMin"] == -1 else activation["binContains"],
                "source": name["layer"],
                "createdAt": lines.created_at,
                "qualifyingTokenIndex": None,
                "dfaTargetIndex": None,
                "dfaMaxValue": None,
            }
            for activation in lines.activations
        ],
        "explanations": [_explanation(of, name["layer"], lines.created_at, approval) for of in lines.explanations],
        "lists": [{"id": of.list_id, "name": of.name, "description": of.description} for of in notes.lists],
        "comments": [
            {**name, "id": of.comment_id, "text": of.text, "createdAt": of.created_at.isoformat(), "author": of.author}
            for of in notes.comments
        ],
        "bookmarks": [name] if notes.is_starred else [],
    }


def neuron(feature: Feature) -> dict[str, Any]:
    """A feature as it stands beside what was found of it: its best label, and how often it fires."""
    name = in_its_words(feature.id)
    return {
        **name,
        "sourceSetName": name["layer"].partition("-")[2],
        "frac_nonzero": feature.as_plain()["density"],
        "explanations": [] if feature.label is None else [found_label(feature)],
    }


def found_label(feature: Feature) -> dict[str, Any]:
    """A feature's best label."""
    return {
        **in_its_words(feature.id),
        "id": feature.explanation_id,
        "description": feature.label,
        "typeName": feature.explainer,
        "explanationModelName": feature.explainer,
        "scores": [{"explanationScoreTypeName": name, "value": value} for name, value in feature.scores.items()],
    }


def _explanation(line: Mapping[str, Any], layer: str, created_at: str, approval: Mapping[str, int]) -> dict[str, Any]:
    shape = dict(line)
    scores: Iterable[Mapping[str, Any]] = shape.pop("autointerpScores")
    return {
        **shape,
        "source": layer,
        "createdAt": created_at,
        "triggeredByUser": None,
        "votes": approval.get(str(line["id"]), 0),
        "scores": [
            {
                "id": f"{line['id']}:{of['scorer']}",
                "explanationId": line["id"],
                "explanationScoreTypeName": of["scorer"],
                "explanationScoreModelName": of["judge"],
                **of,
            }
            for of in scores
        ],
    }
