"""What a pipeline file says: one frozen pydantic model per stage, extra keys refused; `config.file` reads it.

Every value that changes a result has its default here and nowhere else. How a run is carried out (workers,
batch size, devices, concurrency, where it lies) is config too, but no part of a fingerprint (`run.fingerprints` leaves
it out).
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from autointerp.config.corpus import CorpusConfig
from autointerp.config.frozen import Frozen
from autointerp.config.indices import parse_indices
from autointerp.config.language_models import LlmConfig, ModelConfig

NullKind = Literal["shuffled", "most_frequent_token", "no_label", "too_broad", "too_narrow"]
ContentFree = Literal["none", "text", "label"]
NegativeKind = Literal["silent_peak", "silent_random", "silent_similar", "silent_neighbor", "silent_token"]


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
    n_top_tokens: int = Field(
        30, gt=0, description="tokens listed per feature: half those it fires on most, half the most telling others"
    )
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
    domain: str = Field(
        "auto",
        min_length=1,
        description="what the LLM is told of the corpus: auto, general, code, chat, multilingual, or a text file",
    )
    distinct: bool = Field(False, description="have labels that are nearly the same written anew, against each other")
    distinct_similarity: float = Field(
        0.9, gt=0, le=1, description="cosine from which on two labels are nearly the same"
    )
    n_distinct: int = Field(4, gt=0, description="features of nearest labels that one is told apart from")
    n_contexts: int = Field(40, gt=0, description="contexts shown to the LLM")
    n_silent: int = Field(10, gt=0, description="silent look-alikes shown to the LLM by `contrastive`")
    n_keywords: int = Field(5, gt=0, description="words in a `keywords` label, at most")
    least_rule_f1: float = Field(
        0.4, ge=0, le=1, description="F1 to expect on other text from which on a rule is a label"
    )
    candidates: tuple[str, ...] = Field(
        ("examples", "contrastive", "evidence"), min_length=2, description="explainers whose labels best_of compares"
    )
    neighbors_from: str = Field(
        "keywords", description="explainer that labels the features before and after one, which `graph` shows the LLM"
    )
    n_neighbors: int = Field(10, gt=0, description="features shown of those before, and of those after, by `graph`")
    neighbor_reach: int = Field(
        8, gt=0, le=1024, description="tokens before or after a firing in which another counts as its neighbor"
    )
    labels: str | None = Field(None, description="file of labels for `outside`: csv, json, jsonl, parquet, …")
    author: str | None = Field(None, description="of the labels in the file to take, where it holds several authors'")


class JudgeConfig(Frozen):
    """Who answers the scorers' questions."""

    kind: Literal["local", "llm"] = Field(
        "local", description="local: similarity by the embedder; llm: [judge.model], taken where that table is there"
    )
    model: ModelConfig | None = Field(None, description="the LLM; required by kind = 'llm'")
    contexts_per_prompt: int = Field(20, gt=0, description="contexts in one question to an LLM")
    simulated_per_prompt: int = Field(
        4, gt=0, description="contexts in one question to an LLM that is asked for activations"
    )
    answers: Literal["written", "chances"] | None = Field(
        None,
        description="of an LLM: percentages that it writes, or its chances of yes and no, one context a question;"
        " unset: chances of provider local, and of a server at base_url that is said to cost 0; else written",
    )
    content_free: ContentFree = Field(
        "text",
        description="left out of a question to learn how readily an LLM says yes, which is taken off its chances",
    )
    calibration: str | None = Field(
        None, description="file of `autointerp calibrate`, by which detection and fuzzing are corrected for its errors"
    )

    @model_validator(mode="before")
    @classmethod
    def _judged_by_the_model_that_is_named(cls, given: Any) -> Any:
        # A table [judge.model] alone says who is to judge: without this it would be read, and never asked.
        if isinstance(given, dict) and given.get("model") is not None and "kind" not in given:
            return {"kind": "llm", **given}
        return given

    @model_validator(mode="after")
    def _model_where_it_is_needed(self) -> Self:
        if self.kind == "llm" and self.model is None:
            raise ValueError("judge.kind = 'llm' needs a table [judge.model]")
        if self.answers is not None and self.model is None:
            raise ValueError("answers says how a language model is asked, and no table [judge.model] names one")
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
    referee: bool = Field(
        True, description="find each feature's rule, and tell where detection's verdicts on its label disagree with it"
    )
    n_bootstrap: int = Field(1000, gt=0, description="resamples behind intervals that have no closed form")
    baseline: bool = Field(True, description="score nulls too: shuffled labels, and what else `nulls` names")
    nulls: tuple[NullKind, ...] = Field(
        ("shuffled", "most_frequent_token", "no_label", "too_broad", "too_narrow"),
        description="what is scored beside the labels, to see what scores without an explanation",
    )
    n_baseline: int | None = Field(None, gt=0, description="labelled features with a shuffled label; unset: all")
    n_most_frequent_token: int | None = Field(
        None, gt=0, description="features with their most frequent token for a label; unset: a tenth, at most 100"
    )
    n_no_label: int | None = Field(
        None, gt=0, description="features whose label a language model has to guess; unset: a tenth, at most 50"
    )
    n_partly_wrong: int | None = Field(
        None,
        gt=0,
        description="features with a label made too broad, and with one made too narrow; unset: a tenth, at most 100,"
        " and a paid judge is asked about none",
    )
    stop: StopConfig | None = Field(None, description="[score.stop], when to stop asking a paid judge; unset: ask all")


class EmbedderConfig(Frozen):
    """The sentence embedder, for label search, similar negatives, the embedding scorer and the local judge."""

    model: str = Field("all-minilm-l6-v2", description="the embedded model, a folder, or a sentence-transformers name")
    device: str = Field("auto", description="auto, cpu, cuda, …")
    batch_size: int = Field(128, gt=0)


class SearchConfig(Frozen):
    """How features are searched; it decides no stage's result, and may change at any time."""

    word_weight: float = Field(
        0.2, ge=0, le=1, description="share of the query's very words in a label's relevance; the rest is meaning"
    )
    score_weight: float = Field(
        0.0, ge=0, le=1, description="share of its relevance that a label loses whose scores are 0; of others less"
    )
    min_relevance: float = Field(
        0.34, ge=0, le=1, description="nothing is shown where the best label has less; 0 always shows the nearest"
    )
    reranker: str = Field(
        "contexts", description="who looks closer: contexts, cross_encoder, language_model, or a class of your own"
    )
    n_reranked: int = Field(30, gt=0, description="features that are looked at closer, where fewer are to be shown")
    cross_encoder: str = Field(
        "cross-encoder/ms-marco-MiniLM-L6-v2", description="model of cross_encoder: a folder, or a name on the hub"
    )
    model: ModelConfig | None = Field(None, description="the LLM of language_model")


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
    search: SearchConfig = SearchConfig()
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
