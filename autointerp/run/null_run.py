"""Null runs: the whole pipeline on a coder, or on a model, that has learned nothing.

Scores of such a run are what explaining and scoring make of text alone: features of random directions fire on
something too, often on single tokens (Heap et al. 2025), and a label may describe that well. What a run's features have
to beat is this.

- `random-coder`: each feature's direction is drawn at random, of unit length, to read and to write.
- `random-model`: every weight matrix of the model has its entries shuffled, so that sizes and spread are kept and what
  was learned is not; the coder keeps its directions.

1. The original model and coder are run over the first blocks of the corpus, and the share of tokens on which each
   feature fires is counted.
2. The null's features read the mean-free activations at the same hook point; each one's threshold is set where it fires
   on the same share of those tokens. So densities are alike, and a feature that fires on none of them fires on next to
   none.
3. Model and coder are written to a folder beside the run's, as any model and coder, and the pipeline is pointed there:
   from then on a null run is a run like any other, with a name, a folder and sources of its own.
"""

import json
import shutil
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from autointerp.config import CoderConfig, Pipeline
from autointerp.corpus import DocumentCounts, cut_shards, iter_documents, iter_tokenized
from autointerp.errors import PipelineError
from autointerp.identity import fingerprint, hash_key
from autointerp.records import BlockShard
from autointerp.run.fingerprints import identity_settings
from autointerp.run.null_names import NULL_RUNS, NullRun, null_source
from autointerp.run.on_disk.folder import file_errors_told
from autointerp.subject.coder import Coder
from autointerp.subject.limits import n_embedded
from autointerp.subject.model import Subject, subject_name
from autointerp.subject.source import Sources, default_name, load_sources

_VERSION = 1
_N_BLOCKS = 512
_BLOCKS_AT_ONCE = 32
_FEATURES_AT_ONCE = 512
_MADE = "made.json"


def null_pipeline(pipeline: Pipeline, kind: str) -> Pipeline:
    """The pipeline of a null run, whose coder or model is made, unless it was made before.

    Args:
        pipeline: The pipeline of the run that the null is of.
        kind: `random-coder` or `random-model`.

    Returns:
        A pipeline like it, named `NAME-KIND`.

    Raises:
        PipelineError: If there is no such null, or a coder is one that none can be made of.
        SubjectError: If the model or a coder can't be loaded.
        CorpusError: If the text can't be read.
    """
    known = next((name for name in NULL_RUNS if name == kind), None)
    if known is None:
        raise PipelineError(f"there is no null run {kind!r}", f"give one of {', '.join(NULL_RUNS)}")
    folder = Path(pipeline.runs) / f"{pipeline.name}-{known}-parts"
    made_of = fingerprint("null run", _VERSION, known, identity_settings(pipeline))
    with file_errors_told():
        made = folder / _MADE
        if not made.is_file() or json.loads(made.read_text(encoding="utf-8")).get("made_of") != made_of:
            names = _make(pipeline, known, folder)
            made.write_text(json.dumps({"made_of": made_of, "names": names}), encoding="utf-8")
        names = json.loads(made.read_text(encoding="utf-8"))["names"]
    coders = tuple(
        CoderConfig(path=str(folder / f"coder-{number}"), name=name, dtype=config.dtype)
        for number, (name, config) in enumerate(zip(names, pipeline.coder, strict=True))
    )
    subject = pipeline.subject
    if known == "random-model":
        name = null_source(subject_name(subject), known)
        subject = subject.model_copy(update={"model": str(folder / "model"), "name": name, "revision": None})
    return pipeline.model_copy(update={"name": null_source(pipeline.name, known), "coder": coders, "subject": subject})


def _make(pipeline: Pipeline, kind: NullRun, folder: Path) -> list[str]:
    """Make model and coders, and tell the sources' names."""
    sources = load_sources(pipeline.subject, pipeline.coder)
    for source in sources.sources:
        if source.coder.is_transcoder:
            raise PipelineError(
                f"{source.coder.origin} is a transcoder, of which no null can be made", "take a sparse autoencoder"
            )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    blocks = _first_blocks(pipeline, sources)
    read = _read(sources, blocks)
    densities = [_densities(source.coder, of) for source, of in zip(sources.sources, read, strict=True)]
    directions = [_unit_rows(_encoder(source.coder)) for source in sources.sources]
    written = [source.coder.decoder.float().cpu() for source in sources.sources]
    names = [
        config.name or default_name(source.coder)
        for config, source in zip(pipeline.coder, sources.sources, strict=True)
    ]
    if kind == "random-coder":
        directions = [
            _random_directions(of.shape, hash_key(pipeline.seed, kind, source.source_id))
            for of, source in zip(directions, sources.sources, strict=True)
        ]
        written = directions
        names = [null_source(name, kind) for name in names]
    else:
        _shuffle_weights(sources.subject, hash_key(pipeline.seed, kind))
        read = _read(sources, blocks)
        model: Any = sources.subject.model
        model.save_pretrained(folder / "model")
        sources.subject.tokenizer.save_pretrained(folder / "model")
    for number, source in enumerate(sources.sources):
        mean, thresholds = _thresholds(read[number], directions[number], densities[number])
        _save(folder / f"coder-{number}", source.coder, directions[number], written[number], mean, thresholds)
    return names


def _first_blocks(pipeline: Pipeline, sources: Sources) -> list[BlockShard]:
    """The first shards of the corpus, of blocks enough."""
    config, counts = pipeline.corpus, DocumentCounts()
    tokenizer = sources.subject.tokenizer
    read = iter_documents if config.token_column is None else iter_tokenized
    said = {source.coder.prepends_bos for source in sources.sources} - {None}
    prepend_bos = said.pop() if config.special_tokens == "tokenizer" and len(said) == 1 else None
    shards = cut_shards(
        read(config, tokenizer, counts=counts),
        tokenizer,
        config,
        prepend_bos=prepend_bos,
        counts=counts,
        n_embedded=n_embedded(sources.subject),
    )
    return list(islice(shards, -(-_N_BLOCKS // config.blocks_per_shard)))


def _read(sources: Sources, shards: Sequence[BlockShard]) -> list[Float[Tensor, "row d_in"]]:
    """What each source reads at counted tokens, on the processor."""
    read: list[list[Tensor]] = [[] for _ in sources.sources]
    n_left = _N_BLOCKS
    for shard in shards:
        for start in range(0, min(n_left, len(shard.n_tokens)), _BLOCKS_AT_ONCE):
            rows = slice(start, start + _BLOCKS_AT_ONCE)
            token_ids = torch.from_numpy(shard.token_ids[rows].astype(np.int64))
            mask = np.arange(token_ids.shape[1]) < shard.n_tokens[rows, None]
            activations = sources.read_counted(
                token_ids, torch.from_numpy(mask.astype(np.int64)), torch.from_numpy(shard.counted[rows])
            )
            for kept, of in zip(read, activations, strict=True):
                kept.append(of.float().cpu())
        n_left -= len(shard.n_tokens)
    return [torch.cat(of) for of in read]


def _densities(coder: Coder, read: Float[Tensor, "row d_in"]) -> Float64[np.ndarray, " feature"]:
    """Share of rows on which each feature fires."""
    n_active = np.zeros(coder.n_features)
    for rows in torch.split(read, 1024):
        n_active += (coder.encode(rows.to(coder.device)) > 0).sum(dim=0).cpu().numpy()
    return n_active / len(read)


def _random_directions(shape: Sequence[int], key: int) -> Float[Tensor, "feature d_in"]:
    return _unit_rows(torch.randn(*shape, generator=torch.Generator().manual_seed(key % 2**63)))


def _encoder(coder: Coder) -> Float[Tensor, "feature d_in"]:
    weights: Tensor = coder.sae.W_enc
    return weights.detach().T.float().cpu()


def _unit_rows(rows: Float[Tensor, "feature d_in"]) -> Float[Tensor, "feature d_in"]:
    return torch.nn.functional.normalize(rows, dim=1)


def _shuffle_weights(subject: Subject, key: int) -> None:
    """Put the entries of every weight matrix of the model in another order; biases and norms stay."""
    generator = torch.Generator().manual_seed(key % 2**63)
    with torch.no_grad():
        for weight in subject.model.parameters():
            if weight.dim() > 1:
                order = torch.randperm(weight.numel(), generator=generator)
                weight.copy_(weight.flatten()[order.to(weight.device)].view_as(weight))


def _thresholds(
    read: Float[Tensor, "row d_in"], directions: Float[Tensor, "feature d_in"], density: Float64[np.ndarray, " feature"]
) -> tuple[Float[Tensor, " d_in"], Float[Tensor, " feature"]]:
    """The mean of what is read, and for each direction what its product with the rest passes on that share of rows.

    It lies halfway between the last one that fires and the next; where none shall, at the largest.
    """
    mean = read.mean(dim=0)
    found = []
    n_firing = torch.from_numpy(np.rint(density * len(read)).astype(np.int64)).clamp(max=len(read) - 1)
    for some, n in zip(
        torch.split(directions, _FEATURES_AT_ONCE), torch.split(n_firing, _FEATURES_AT_ONCE), strict=True
    ):
        products = ((read - mean) @ some.T).sort(dim=0, descending=True).values
        first_silent = products.gather(0, n[None])[0]
        last_firing = products.gather(0, (n - 1).clamp(min=0)[None])[0]
        found.append((first_silent + last_firing) / 2)
    return mean, torch.cat(found)


def _save(
    folder: Path,
    coder: Coder,
    directions: Float[Tensor, "feature d_in"],
    decoder: Float[Tensor, "feature d_out"],
    mean: Float[Tensor, " d_in"],
    thresholds: Float[Tensor, " feature"],
) -> None:
    """Write a coder in SAELens' format that fires where a direction's product passes its threshold, by how much."""
    from sae_lens import StandardSAE, StandardSAEConfig

    sae = StandardSAE(StandardSAEConfig(d_in=coder.d_in, d_sae=coder.n_features, apply_b_dec_to_input=True))
    with torch.no_grad():
        sae.W_enc.copy_(directions.T)
        sae.b_enc.copy_(-thresholds)
        sae.W_dec.copy_(decoder)
        sae.b_dec.copy_(mean)
    sae.cfg.metadata.hook_name = coder.hook_name
    sae.cfg.metadata.prepend_bos = coder.prepends_bos
    sae.cfg.metadata.model_name = coder.model_name
    sae.cfg.metadata.model_from_pretrained_kwargs = dict(coder.model_kwargs)
    sae.save_model(folder)
