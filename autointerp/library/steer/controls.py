"""What steering is held against: edits of the same norm that should do nothing of the kind, and other ways to ask.

| control | at each prompt |
|---|---|
| wrong sign | the same edit, backwards |
| random features | another feature each time, of like density, as long an edit |
| noise | a direction drawn from the sphere each time, as long an edit |
| difference of means | from the stream in plain answers to that in answers asked for it, on the mean, as long an edit |
| prompting alone | no edit; the instruction asks for it in words |
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64

from autointerp.identity import hash_key, in_keyed_order
from autointerp.live.edits import direction
from autointerp.live.subject import LiveSubject
from autointerp.records.live import ActivationHistograms, Edit, Push, SourceEdits
from autointerp.subject.coder import Coder
from autointerp.subject.source import Sources

_LIKE = 20


def source_edits(source_id: str, values: Mapping[int, float]) -> tuple[SourceEdits, ...]:
    """Features turned up by some activation, in the coder's own units."""
    return (SourceEdits(source_id, tuple(Edit(index, "add", value) for index, value in values.items())),)


def norm_of(coder: Coder, values: Mapping[int, float]) -> float:
    """Length of what edits add where the coder writes, before it undoes its normalisation."""
    added = sum(value * direction(coder, index) for index, value in values.items())
    return float(torch.as_tensor(added).norm())


def wrong_sign(source_id: str, values: Mapping[int, float]) -> tuple[SourceEdits, ...]:
    """The same edit backwards."""
    return source_edits(source_id, {index: -value for index, value in values.items()})


def noise(source_id: str, width: int, norm: float, n: int, seed: int) -> list[tuple[SourceEdits, ...]]:
    """Random directions, one a prompt.

    Args:
        source_id: Where they are added.
        width: Of what the coder writes.
        norm: Their length.
        n: Prompts.
        seed: Of the draw.
    """
    drawn = np.random.default_rng(hash_key(seed, "noise", source_id)).standard_normal((n, width))
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return [pushed(source_id, row.astype(np.float32), norm) for row in drawn]


def pushed(source_id: str, unit: Float32[np.ndarray, " d_out"], norm: float) -> tuple[SourceEdits, ...]:
    """A direction of length 1, `norm` times."""
    return (SourceEdits(source_id, (Push(unit, norm),)),)


def features_alike(
    histograms: ActivationHistograms, coder: Coder, density: float, but: Sequence[int]
) -> Int64[np.ndarray, " feature"]:
    """Features whose density is closest to one's, by their ratio, nearest first.

    Args:
        histograms: Of all features of the source.
        coder: The source's.
        density: Share of tokens.
        but: Features that are left out.
    """
    written = coder.decoder.detach().float().norm(dim=1).cpu().numpy()
    able = (histograms.n_active > 0) & (written[histograms.feature_index] > 0)
    able &= ~np.isin(histograms.feature_index, list(but))
    features, n_active = histograms.feature_index[able], histograms.n_active[able]
    wanted = max(density * histograms.n_tokens, 1.0)
    alike: Int64[np.ndarray, " feature"] = features[
        np.argsort(np.abs(np.log(n_active / wanted)), kind="stable")[:_LIKE]
    ]
    return alike


def random_features(
    source_id: str, coder: Coder, alike: Int64[np.ndarray, " feature"], norm: float, n: int, seed: int
) -> list[tuple[SourceEdits, ...]]:
    """Other features turned up, one a prompt, as far as there are several; none where there is none.

    Args:
        source_id: The source.
        coder: The source's.
        alike: Features to draw from.
        norm: Length of what is added.
        n: Prompts.
        seed: Of the draw.
    """
    if not alike.size:
        return []
    order = in_keyed_order(hash_key(seed, "random features", source_id), alike).tolist()
    lengths = {index: float(direction(coder, index).norm()) for index in order}
    drawn = [order[place % len(order)] for place in range(n)]
    return [source_edits(source_id, {index: norm / lengths[index]}) for index in drawn]


def difference_of_means(
    live: LiveSubject,
    source_id: str,
    asked: Sequence[tuple[Sequence[int], Sequence[int]]],
    plain: Sequence[tuple[Sequence[int], Sequence[int]]],
) -> Float32[np.ndarray, " d_in"] | None:
    """The direction from plain answers to answers that were asked for something, of length 1.

    Args:
        live: The subject.
        source_id: Where the stream is read: where the source's coder reads.
        asked: Prompts, each with its answer, as tokens.
        plain: Others.

    Returns:
        None where the coder writes elsewhere than it reads, or nothing was answered.
    """
    if live.source(source_id).coder.is_transcoder:
        return None
    means = [_mean_of_answers(live, source_id, texts) for texts in (asked, plain)]
    if means[0] is None or means[1] is None:
        return None
    difference = (means[0] - means[1]).numpy()
    length = float(np.linalg.norm(difference))
    return (difference / length).astype(np.float32) if length > 0 else None


def _mean_of_answers(
    live: LiveSubject, source_id: str, texts: Sequence[tuple[Sequence[int], Sequence[int]]]
) -> Float[torch.Tensor, " d_in"] | None:
    """The mean of the stream over the tokens of some answers."""
    source = live.source(source_id)
    only = Sources(live.sources.subject, (source,))
    total, n = torch.zeros(source.coder.d_in, dtype=torch.float64), 0
    rows = [(*prompt, *answer) for prompt, answer in texts]
    with live.lock:
        for batch in live.batches(rows):
            length = max(len(rows[i]) for i in batch)
            ids = torch.full((len(batch), length), live.special.padding, dtype=torch.int64)
            mask = torch.zeros_like(ids)
            counted = torch.zeros(ids.shape, dtype=torch.bool)
            for place, i in enumerate(batch):
                ids[place, : len(rows[i])] = torch.tensor(rows[i], dtype=torch.int64)
                mask[place, : len(rows[i])] = 1
                counted[place, len(texts[i][0]) : len(rows[i])] = True
            (hidden,) = only.read_counted(ids, mask, counted)
            total += hidden.double().sum(dim=0).cpu()
            n += len(hidden)
    return total / n if n else None
