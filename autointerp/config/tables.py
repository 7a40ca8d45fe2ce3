"""What a pipeline file says: one frozen pydantic model per stage, extra keys refused; `config.file` reads it.

Every value that changes a result has its default here and nowhere else. How a run is carried out (workers,
batch size, devices, concurrency, where it lies) is config too, but no part of a fingerprint (`run.fingerprints` leaves
it out).
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from autointerp.config.frozen import Frozen
from autointerp.config.indices import parse_indices
from autointerp.config.language_models import LlmConfig, ModelConfig

NullKind = Literal["shuffled", "most_frequent_token", "no_label"]
NegativeKind = Literal["silent_peak", "silent_random", "silent_similar", "silent_neighbor", "silent_token"]


class CorpusConfig(Frozen):
    """Where the text comes from, and how it is cut into blocks."""

    kind: Literal["docstrings", "text", "jsonl", "parquet", "huggingface"] = Field(
        "docstrings", description="docstrings: of the Python packages on this machine; the others read `path`"
    )
    path: str | None = Field(None, description="file or folder, or the Hugging Face dataset's name")
    column: str | None = Field(
        None, description="of the text; unset: text, or of chats messages, conversations or conversation"
    )
    token_column: str | None = Field(
        None, description="of token ids, where the corpus is tokenized already, by the subject's own tokenizer"
    )
    chat: bool = Field(False, description="the column holds lists of messages, for the tokenizer's chat template")
    chat_template: str | None = Field(None, description="file with a Jinja template; unset: the tokenizer's own")
    subset: str | None = Field(None, description="configuration name of a Hugging Face dataset")
    dataset_split: str = Field("train", description="split of a Hugging Face dataset")
    revision: str | None = Field(None, description="revision of a Hugging Face dataset")
    groups: Literal["source", "document"] = Field(
        "source",
        description="on one side of the split: all of a source file (or group_column); or a document by itself",
    )
    group_column: str | None = Field(None, description="of what rows belong to; unset: each row is a group of its own")
    n_tokens: int = Field(1_000_000, gt=0, description="stop after the block that reaches this many counted tokens")
    block_length: int = Field(128, ge=8, description="tokens in a block, special tokens included")
    min_block_tokens: int = Field(8, ge=1, description="shorter tails of documents are dropped")
    special_tokens: Literal["tokenizer", "bos", "none"] = Field(
        "tokenizer",
        description="around each block: the tokenizer's own, with BOS as the coder was trained; BOS only; none",
    )
    count_special: bool = Field(False, description="whether special tokens count in statistics and samples")
    blocks_per_shard: int = Field(1024, gt=0, description="blocks in a shard, the unit of work and of resuming")

    @model_validator(mode="after")
    def _path_where_it_is_needed(self) -> Self:
        if (self.kind == "docstrings") != (self.path is None):
            wanted = "takes no `path`" if self.kind == "docstrings" else "needs a `path`"
            raise ValueError(f"corpus.kind = {self.kind!r} {wanted}")
        return self

    @model_validator(mode="after")
    def _of_the_hub_where_it_is_read(self) -> Self:
        for key in ("subset", "dataset_split", "revision"):
            if self.kind != "huggingface" and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"corpus.{key} needs the kind huggingface, not {self.kind!r}")
        return self

    @model_validator(mode="after")
    def _chats_where_there_are_columns(self) -> Self:
        if self.chat and self.kind not in {"jsonl", "parquet", "huggingface"}:
            raise ValueError(f"corpus.chat needs the kind jsonl, parquet or huggingface, not {self.kind!r}")
        if self.chat_template is not None and not self.chat:
            raise ValueError("corpus.chat_template needs corpus.chat = true")
        if self.token_column is not None and self.kind not in {"jsonl", "parquet", "huggingface"}:
            raise ValueError(f"corpus.token_column needs the kind jsonl, parquet or huggingface, not {self.kind!r}")
        if self.token_column is not None and (self.chat or self.column is not None):
            raise ValueError("corpus.token_column takes the place of corpus.column, and excludes corpus.chat")
        return self

    @model_validator(mode="after")
    def _groups_where_there_are_columns(self) -> Self:
        if self.group_column is not None and self.kind not in {"jsonl", "parquet", "huggingface"}:
            raise ValueError(f"corpus.group_column needs the kind jsonl, parquet or huggingface, not {self.kind!r}")
        if self.group_column is not None and self.groups == "document":
            raise ValueError('corpus.group_column needs corpus.groups = "source", the default')
        return self


class SubjectConfig(Frozen):
    """The language model under study."""

    model: str = Field(
        "all-minilm-l6-v2", description="the embedded model, packaged:NAME, a folder, or a name on the hub"
    )
    revision: str | None = Field(None, description="revision on the hub")
    name: str | None = Field(None, description="name in ids; by default the last part of `model`")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="of the weights while running")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")


class CoderConfig(Frozen):
    """The sparse autoencoder or transcoder: a folder or its weights file, or a release and an id in it."""

    path: str | None = Field(None, description="folder of a coder, or its weights; `data/…` names an embedded one")
    format: Literal["auto", "saelens", "gemma_scope", "gemma_scope_2", "sparsify", "dictionary_learning"] = Field(
        "auto", description="whose files they are; auto: told by the files, or as SAELens lists the release"
    )
    release: str | None = Field(
        None, description="SAELens release, for example gpt2-small-res-jb, or a repository on the hub, owner/name"
    )
    sae_id: str | None = Field(
        None, description="id in the release, for example blocks.8.hook_resid_pre, or folder in the repository"
    )
    hook: str | None = Field(None, description="hook point; by default the one that the coder's own config names")
    name: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="source's name in ids; by default made from the hook and width",
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="of the weights while running")

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.path is None) == (self.release is None):
            raise ValueError("coder needs either `path` or `release` with `sae_id`")
        if (self.release is None) != (self.sae_id is None):
            raise ValueError("coder.release and coder.sae_id go together")
        return self


class CollectConfig(Frozen):
    """What the pass over the corpus keeps."""

    n_top: int = Field(40, gt=0, description="blocks with the highest peaks kept per feature")
    n_fired: int = Field(100, gt=0, description="blocks kept per feature as a uniform sample of those where it fires")
    n_pool_blocks: int = Field(2048, gt=0, description="blocks of which every firing is kept")
    context_length: int = Field(32, ge=4, le=32_768, description="tokens in a context")
    peak_fraction: float = Field(0.75, ge=0, le=1, description="where the peak stands in what the explainer sees")
    n_token_candidates: int = Field(
        256, gt=0, description="tokens counted per feature; exact for a feature that fires on no more different ones"
    )
    n_top_tokens: int = Field(30, gt=0, description="tokens listed per feature, those it fires on most")
    n_following_tokens: int = Field(10, gt=0, description="tokens listed per feature that follow its peaks")
    n_logits: int = Field(10, ge=0, description="tokens listed per feature at either end of its logits; 0: no logits")
    dense_above: float = Field(0.5, gt=0, le=1, description="share of tokens above which a feature is called dense")
    batch_size: int = Field(32, gt=0, description="blocks in one forward pass; changes results by rounding only")


class FeaturesConfig(Frozen):
    """Which features are labelled."""

    indices: str | None = Field(None, description='for example "0-99,650"; by default all that can be labelled')
    sample: int | None = Field(None, gt=0, description="a uniform sample of this many of those that can be labelled")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.indices is not None and self.sample is not None:
            raise ValueError("features.indices and features.sample exclude each other")
        return self

    @field_validator("indices")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is not None:
            parse_indices(value)
        return value


class ContextsConfig(Frozen):
    """How contexts are split and which negatives go with them."""

    n_explain: int = Field(40, gt=0, description="active contexts an explainer may see")
    top_share: float = Field(0.5, ge=0, le=1, description="share of these from the top set; the rest by quantile")
    n_score: int = Field(20, gt=0, description="active contexts that grade, stratified over activation quantiles")
    min_explain: int = Field(5, gt=0, description="fewer active explain contexts: the feature has too few")
    min_score: int = Field(5, gt=0, description="fewer active score contexts: the feature has too few")
    n_quantiles: int = Field(10, gt=0, description="activation quantiles of the feature's firing blocks")
    negatives: tuple[NegativeKind, ...] = Field(
        ("silent_peak", "silent_similar"), min_length=1, description="kinds of silent contexts, in equal shares"
    )
    n_explain_silent: int = Field(20, gt=0, description="silent contexts at most on the explain side")
    n_similar_to: int = Field(
        5, gt=0, description="explain contexts whose mean embedding stands for the feature in silent_similar"
    )
    n_pool_tiles: int = Field(2048, gt=0, description="windows of the pool's blocks, drawn uniformly")
    near_duplicate: float = Field(
        0.5, gt=0, le=1, description="contexts whose token trigrams overlap (Jaccard) by this or more are duplicates"
    )
    explain_share: float = Field(0.5, gt=0, lt=1, description="share of documents that go to the explain split")
    select_share: float = Field(
        0.0, ge=0, lt=1, description="share of the explain split's documents set apart to choose among labels, best_of"
    )
    n_select: int = Field(20, gt=0, description="active contexts that choose among labels, where select_share is set")


class ExplainConfig(Frozen):
    """Who writes labels."""

    explainer: str = Field(
        "keywords",
        description="who writes labels; or your own, as module:Class or file.py:Class",
    )
    model: ModelConfig | None = Field(None, description="the LLM; required by explainers that ask one")
    n_contexts: int = Field(40, gt=0, description="contexts shown to the LLM")
    n_silent: int = Field(10, gt=0, description="silent look-alikes shown to the LLM by `contrastive`")
    n_keywords: int = Field(6, gt=0, description="words in a `keywords` label")
    least_rule_f1: float = Field(0.5, ge=0, le=1, description="F1 on the explain split from which on a rule is a label")
    candidates: tuple[str, ...] = Field(
        ("examples", "contrastive", "evidence"), min_length=2, description="explainers whose labels best_of compares"
    )
    labels: str | None = Field(None, description="file of labels for `outside`: csv, json, jsonl, parquet, …")
    author: str | None = Field(None, description="of the labels in the file to take, where it holds several authors'")


class JudgeConfig(Frozen):
    """Who answers the scorers' questions."""

    kind: Literal["local", "llm"] = Field("local", description="local: similarity by the embedder; llm: [judge.model]")
    model: ModelConfig | None = Field(None, description="the LLM; required by kind = 'llm'")
    contexts_per_prompt: int = Field(20, gt=0, description="contexts in one question to an LLM")
    simulated_per_prompt: int = Field(
        4, gt=0, description="contexts in one question to an LLM that is asked for activations"
    )
    calibration: str | None = Field(
        None, description="file of `autointerp calibrate`, by which detection and fuzzing are corrected for its errors"
    )

    @model_validator(mode="after")
    def _model_where_it_is_needed(self) -> Self:
        if self.kind == "llm" and self.model is None:
            raise ValueError("judge.kind = 'llm' needs a table [judge.model]")
        return self


class StopConfig(Frozen):
    """When a label has been asked about enough, by a confidence sequence, where judging is paid."""

    threshold: float | None = Field(
        None, gt=0, lt=1, description="stop once the interval of a balanced accuracy lies wholly on one side of this"
    )
    width: float | None = Field(None, gt=0, lt=1, description="stop once that interval is no wider")
    n_questions: int = Field(8, gt=1, description="questions on a label in one round, about")

    @model_validator(mode="after")
    def _something_to_stop_at(self) -> Self:
        if self.threshold is None and self.width is None:
            raise ValueError("score.stop needs a threshold or a width")
        return self


class ScoreConfig(Frozen):
    """Which scorers grade, and how much."""

    scorers: tuple[str, ...] = Field(
        ("detection", "fuzzing", "embedding", "recall"),
        min_length=1,
        description="who grades labels; or your own, as module:Class or file.py:Class",
    )
    n_recall_candidates: int = Field(20, gt=0, description="pool contexts retrieved as likely false positives")
    n_recall_random: int = Field(20, gt=0, description="further pool contexts drawn uniformly")
    n_generated: int = Field(10, ge=3, description="texts for a label, and as many against it, run through the subject")
    n_natural: int = Field(40, gt=0, description="silent pool contexts that natural asks a judge about")
    n_interventions: int = Field(
        8, ge=3, description="groups of prompts in which a feature is turned up (intervention)"
    )
    steering: float = Field(1.0, gt=0, description="how far it is turned up, in units of its largest activation")
    n_siblings: int = Field(5, gt=1, description="features of nearest labels that discrimination sets a label against")
    surprisal_model: str = Field(
        "packaged:smollm2-135m-instruct", description="a causal model: packaged, a folder, or a name on the hub"
    )
    n_surprisal_references: int = Field(
        4, gt=1, description="other features' labels against which surprisal sets a label"
    )
    n_bootstrap: int = Field(1000, gt=0, description="resamples behind intervals that have no closed form")
    baseline: bool = Field(True, description="score nulls too: shuffled labels, and what else `nulls` names")
    nulls: tuple[NullKind, ...] = Field(
        ("shuffled", "most_frequent_token", "no_label"),
        description="what is scored beside the labels, to see what scores without an explanation",
    )
    n_baseline: int | None = Field(None, gt=0, description="labelled features with a shuffled label; unset: all")
    n_most_frequent_token: int | None = Field(
        None, gt=0, description="features with their most frequent token for a label; unset: a tenth, at most 100"
    )
    n_no_label: int | None = Field(
        None, gt=0, description="features whose label a language model has to guess; unset: a tenth, at most 50"
    )
    stop: StopConfig | None = Field(None, description="[score.stop], when to stop asking a paid judge; unset: ask all")


class EmbedderConfig(Frozen):
    """The sentence embedder, for label search, similar negatives, the embedding scorer and the local judge."""

    model: str = Field("all-minilm-l6-v2", description="the embedded model, a folder, or a sentence-transformers name")
    device: str = Field("auto", description="auto, cpu, cuda, …")
    batch_size: int = Field(128, gt=0)


class RayConfig(Frozen):
    """Where collecting runs."""

    n_workers: int = Field(0, ge=0, description="0: in this process; else Ray actors")
    address: str | None = Field(None, description="a running cluster, host:port or auto; unset: local workers")
    gpus_per_worker: float = Field(0.0, ge=0)
    cpus_per_worker: float = Field(1.0, gt=0)
    start_timeout_s: float = Field(120.0, gt=0, description="how long a cluster may have no room for any worker")
    n_llm_workers: int = Field(
        0, ge=0, description="0: language models are called from this process; else from so many Ray actors besides"
    )

    @model_validator(mode="after")
    def _workers_where_there_is_a_cluster(self) -> Self:
        if self.address is not None and self.n_workers == 0 and self.n_llm_workers == 0:
            raise ValueError(
                "ray.address needs ray.n_workers, for example the number of GPUs there, or ray.n_llm_workers"
            )
        return self


def _as_list(value: object) -> object:
    """A table `[coder]` is a list of one."""
    return value if isinstance(value, list | tuple) else [value]


class Pipeline(Frozen):
    """A whole pipeline file."""

    name: str = Field(min_length=1, pattern=r"^\.*[A-Za-z0-9_-][A-Za-z0-9._-]*$", description="of the run folder")
    runs: str = Field("runs", description="folder that holds run folders")
    seed: int = Field(0, ge=0)
    corpus: CorpusConfig = CorpusConfig()
    subject: SubjectConfig = SubjectConfig()
    coder: Annotated[tuple[CoderConfig, ...], BeforeValidator(_as_list)] = Field(
        min_length=1, description="[coder], or several [[coder]] of one subject, collected in one pass"
    )
    collect: CollectConfig = CollectConfig()
    features: FeaturesConfig = FeaturesConfig()
    contexts: ContextsConfig = ContextsConfig()
    explain: ExplainConfig = ExplainConfig()
    judge: JudgeConfig = JudgeConfig()
    llm: LlmConfig = LlmConfig()
    score: ScoreConfig = ScoreConfig()
    embedder: EmbedderConfig = EmbedderConfig()
    ray: RayConfig = RayConfig()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.collect.context_length > self.corpus.block_length:
            raise ValueError("collect.context_length must be at most corpus.block_length")
        if self.collect.n_token_candidates < self.collect.n_top_tokens:
            raise ValueError("collect.n_token_candidates must be at least collect.n_top_tokens")
        return self

    @property
    def run_folder(self) -> Path:
        """The run's folder."""
        return Path(self.runs) / self.name
