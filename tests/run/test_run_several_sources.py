"""Several coders of one model: one pass for all, the same results as each alone, and one run that holds them all."""

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from autointerp import open_run, run_pipeline
from autointerp.config import CollectConfig, ContextsConfig, FeaturesConfig, Pipeline
from autointerp.config.file import load_pipeline
from autointerp.corpus.shard_files import load_shard
from autointerp.errors import AutointerpError, SubjectError, UnknownFeatureError
from autointerp.records import input_tokens
from autointerp.run.features import features_to_label
from autointerp.run.workers.executor import collect_shards
from autointerp.run.workers.parts import SourceParts
from autointerp.subject.source import load_sources
from tests.command import printed
from tests.loopback.server import LoopbackServer
from tests.run.planted import COLOURS, DEAD, FEATURES, FEATURES_2, Planted
from tests.run.prepared import WithContexts
from tests.run.test_run_planted import KEY, NAME_OF_COLOURS, knowing
from tests.run.tiny import assert_same, collect, save_coder, with_coders

ONE, OTHER = "planted@0-res-12", "planted@0-emb-9"


@pytest.fixture
def coders(tmp_path: Path) -> list[dict[str, Any]]:
    """Three coders of different architectures, widths and hook points."""
    described: list[tuple[str, str, dict[str, Any]]] = [
        ("standard", "blocks.1.hook_mlp_out", {"d_sae": 40}),
        ("topk", "blocks.0.hook_resid_post", {"d_sae": 70, "k": 5}),
        ("jumprelu", "blocks.1.hook_attn_out", {"d_sae": 33}),
    ]
    return [
        {"path": str(save_coder(tmp_path / name, name, metadata={"hook_name": hook}, **settings))}
        for name, hook, settings in described
    ]


def test_one_pass_for_three_coders_keeps_what_three_passes_do(
    coders: list[dict[str, Any]], make_pipeline: Callable[..., Pipeline], shard_files: list[Path], tmp_path: Path
) -> None:
    # Where the pool is the whole corpus, one coder by itself has the blocks in it that several share.
    everything = CollectConfig(n_top=4, n_fired=3, n_pool_blocks=22, context_length=5)
    pipeline = make_pipeline().model_copy(update={"collect": everything})
    together = with_coders(pipeline, *coders)
    folders = [tmp_path / f"together-{number}" for number in range(3)]
    parts = collect_shards(together, shard_files, folders, lambda _: None)
    for number, coder in enumerate(coders):
        alone = with_coders(pipeline, coder)
        collected = collect(alone, shard_files, tmp_path / f"alone-{number}")
        assert_same(parts[number].result(), collected)
        for index in range(3):
            name = f"shard-{index:05d}.safetensors"
            files = (folders[number] / name, tmp_path / f"alone-{number}" / name)
            kept, kept_alone = (load_file(file) for file in files)
            assert kept.keys() == kept_alone.keys()
            assert all(np.array_equal(kept[key], kept_alone[key]) for key in kept)
    widths = [len(of_source.result().statistics.n_active) for of_source in parts]
    assert widths == [40, 70, 33]


def test_several_coders_have_the_same_blocks_in_their_pools(
    coders: list[dict[str, Any]], make_pipeline: Callable[..., Pipeline], shard_files: list[Path], tmp_path: Path
) -> None:
    def pools(*described: dict[str, Any]) -> list[list[int]]:
        folders = [tmp_path / f"{len(described)}-{number}" for number in range(len(described))]
        parts = collect_shards(with_coders(make_pipeline(), *described), shard_files, folders, lambda _: None)
        return [of_source.result().pool.block_index.tolist() for of_source in parts]

    of_three = pools(*coders)
    assert of_three[0] == of_three[1] == of_three[2]
    assert len(of_three[0]) == 6
    assert pools(*coders[:2]) == of_three[:2], "another coder changed them"


def test_the_model_runs_once_a_batch_up_to_the_last_hook_needed(
    coders: list[dict[str, Any]], make_pipeline: Callable[..., Pipeline], shard_files: list[Path], tmp_path: Path
) -> None:
    pipeline = with_coders(make_pipeline(batch_size=3), *coders)
    sources = load_sources(pipeline.subject, pipeline.coder)
    n_calls: Counter[str] = Counter()
    for name, module in sources.subject.model.named_modules():
        module.register_forward_pre_hook(lambda *_, name=name: n_calls.update([name]))
    folders = [tmp_path / str(number) for number in range(3)]
    collect_shards(pipeline, shard_files, folders, lambda _: None, sources=sources)
    n_batches = sum(-(-len(load_shard(file).token_ids) // 3) for file in shard_files)
    assert n_calls["wte"] == n_calls["h.0"] == n_calls["h.1"] == n_calls["h.1.mlp"] == n_batches == 8
    assert {n_calls[name] for name in ("h.2", "h.2.attn", "ln_f")} == {0}


def test_where_the_part_of_one_source_is_damaged_its_shard_is_collected_again_for_all(
    coders: list[dict[str, Any]], make_pipeline: Callable[..., Pipeline], shard_files: list[Path], tmp_path: Path
) -> None:
    pipeline = with_coders(make_pipeline(), *coders)
    folders = [tmp_path / str(number) for number in range(3)]

    def run() -> tuple[list[SourceParts], list[bool]]:
        resumed: list[bool] = []
        parts = collect_shards(pipeline, shard_files, folders, lambda progress: resumed.append(progress.is_resumed))
        return parts, resumed

    before = [of_source.result() for of_source in run()[0]]
    for folder in folders[:2]:
        file = folder / "shard-00001.safetensors"
        file.write_bytes(file.read_bytes()[:-50])
    (folders[2] / "shard-00002.safetensors").unlink()
    parts, resumed = run()
    assert resumed == [True, False, False]
    for of_source, collected in zip(parts, before, strict=True):
        assert_same(of_source.result(), collected)
    assert run()[1] == [True] * 3


def test_two_coders_of_one_name_are_an_error(
    coders: list[dict[str, Any]], make_pipeline: Callable[..., Pipeline], shard_files: list[Path], tmp_path: Path
) -> None:
    twice = with_coders(make_pipeline(), coders[0], coders[0])
    with pytest.raises(SubjectError, match=r"two coders make sources of the name tiny@1-mlp-40: give each \[\[coder"):
        collect_shards(twice, shard_files, [tmp_path / "1", tmp_path / "2"], lambda _: None)
    named = with_coders(make_pipeline(), coders[0], coders[0] | {"name": "again"})
    assert [s.source_id for s in load_sources(named.subject, named.coder).sources] == ["tiny@1-mlp-40", "tiny@again"]


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def two_coders(planted: Planted, folder: Path, url: str, *overrides: str) -> Pipeline:
    model = ['provider = "openai"', 'model = "m"', f'base_url = "{url}"', "concurrency = 4", "max_attempts = 1"]
    more = ["[explain]", 'explainer = "examples"', "[explain.model]", *model]
    more += ["[judge]", 'kind = "llm"', "[judge.model]", *model]
    tables = ["[[coder]]", f'path = "{planted.coder}"', "[[coder]]", f'path = "{planted.coder_2}"']
    path = folder / "two.toml"
    path.write_text(planted.toml("two", folder / "runs", *more, coders=tables), encoding="utf-8")
    return load_pipeline(str(path), overrides)


@pytest.mark.slow
def test_a_run_over_two_coders_labels_and_scores_the_features_of_both(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with LoopbackServer(knowing()) as server:
        pipeline = with_contexts(two_coders(planted, tmp_path, server.url + "/v1", 'score.scorers=["detection"]'))
        outcome = run_pipeline(pipeline)
        n_calls = len(server.calls)
        reader = open_run(pipeline.run_folder).reader
        before, parts = reader.content_digest(), sorted(pipeline.run_folder.glob("collect/*/*"))
        times = [part.stat().st_mtime_ns for part in parts]
        again = run_pipeline(pipeline)
        assert len(server.calls) == n_calls, "a rerun with nothing left to do asked again"
    assert [part.name for part in parts] == ["collected.safetensors"] * 2
    assert [part.stat().st_mtime_ns for part in parts] == times
    assert (reader.content_digest(), again.features) == (before, outcome.features)

    assert [source.source_id for source in reader.sources()] == sorted([ONE, OTHER])
    labels = {(e.source_id, e.feature_index): e.label for e in reader.explanations()}
    for source_id, features in ((ONE, FEATURES), (OTHER, FEATURES_2)):
        found = {index: label for (source, index), label in labels.items() if source == source_id}
        cant_be = {("quasar",), ()}
        assert found == {
            index: NAME_OF_COLOURS if words == COLOURS else words[0]
            for index, words in enumerate(features)
            if words not in cant_be
        }
        assert len(reader.features(source_id=source_id)) == len(features)
    assert list(outcome.features) == [source.source_id for source in reader.sources()]
    assert outcome.n_failed == 0
    values = {score.explanation_id: score.value for score in reader.scores(scorer="detection")}
    assert {values[explanation.explanation_id] for explanation in reader.explanations()} == {1.0}

    run = str(pipeline.run_folder)
    hits = answer(capsys, "search", run, "ship", "-k", "2")
    assert {(hit["source_id"], hit["feature_index"]) for hit in hits} == {(ONE, 0), (OTHER, 8)}
    for source_id, index in ((ONE, FEATURES.index(("piano",))), (OTHER, FEATURES_2.index(("piano",)))):
        shown = answer(capsys, "show", run, f"{source_id}:{index}")
        assert "piano" in json.dumps(shown)


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    return json.loads(printed(capsys, *arguments, "--json"))


def test_features_that_are_asked_for_by_index_are_those_of_every_coder(planted: Planted, tmp_path: Path) -> None:
    asked = (f'features.indices="{DEAD},6,8"', 'contexts.negatives=["silent_random"]')
    pipeline = two_coders(planted, tmp_path, "http://127.0.0.1:9/v1", *asked)
    outcome = run_pipeline(pipeline, ("corpus", "collect", "contexts"))
    assert dict(outcome.features) == {ONE: [DEAD, 6, 8], OTHER: [DEAD, 6, 8]}
    reader = open_run(pipeline.run_folder).reader
    reasons = {(f.source_id, f.feature_index): f.error_type for f in reader.failures(stage="contexts")}
    assert reasons == {(ONE, DEAD): "DeadFeature", (OTHER, FEATURES_2.index(("quasar",))): "TooFewContexts"}
    assert (FEATURES[8], FEATURES_2[8]) == (("window",), ("ship",))
    assert reader.contexts(8, source_id=ONE) != reader.contexts(8, source_id=OTHER)


@pytest.mark.slow
def test_an_index_past_the_width_of_one_coder_does_not_cost_the_other_its_label(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with LoopbackServer(knowing()) as server:
        pipeline = with_contexts(
            two_coders(planted, tmp_path, server.url + "/v1", 'features.indices="10"', 'score.scorers=["detection"]')
        )
        outcome = run_pipeline(pipeline)
        past_both = pipeline.model_copy(update={"features": FeaturesConfig(indices="8,12")})
        with pytest.raises(UnknownFeatureError, match=f"{ONE} has no feature 12: its features are 0 to 11"):
            run_pipeline(past_both, ("contexts",))
    assert (dict(outcome.features), outcome.n_failed) == ({ONE: [10], OTHER: []}, 0)
    (explanation,) = open_run(pipeline.run_folder).reader.explanations()
    assert (explanation.source_id, explanation.label) == (ONE, "candle")
    assert caplog.messages.count(f"{OTHER} has no feature 10: the run goes on with 0 of its features") == 1


ABLE, UNABLE = np.array([99, 0, 99]), np.array([1, 0])
INDICES, ALL = FeaturesConfig(indices="1-2"), FeaturesConfig()


@pytest.mark.parametrize(
    ("config", "reason", "found"),
    [
        (INDICES, "b has no feature 2", [1]),
        (ALL, r"no feature of b fires in \d+ blocks of this corpus, which is the least it needs", []),
    ],
)
def test_a_source_that_lacks_features_is_told_unless_all_do(
    config: FeaturesConfig, reason: str, found: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    expected = features_to_label(config, ContextsConfig(), [("a", ABLE)], seed=0)["a"]
    assert caplog.messages == []
    chosen = features_to_label(config, ContextsConfig(), [("b", UNABLE), ("a", ABLE)], seed=0)
    assert (dict(chosen), list(chosen)) == ({"b": found, "a": expected}, ["b", "a"])
    (told,) = caplog.messages
    assert re.fullmatch(f"{reason}: the run goes on with {len(found)} of its features", told)
    with pytest.raises(AutointerpError, match=reason):
        features_to_label(config, ContextsConfig(), [("b", UNABLE), ("c", UNABLE)], seed=0)


def test_counts_of_tokens_that_may_be_too_low_are_stored_with_their_bound(planted: Planted, tmp_path: Path) -> None:
    one_token = ("collect.n_token_candidates=1", "collect.n_top_tokens=1")
    pipeline = two_coders(planted, tmp_path, "http://127.0.0.1:9/v1", *one_token)
    run_pipeline(pipeline, ("corpus", "collect"))
    reader = open_run(pipeline.run_folder).reader
    for source_id, features in ((ONE, FEATURES), (OTHER, FEATURES_2)):
        for feature in reader.features(source_id=source_id):
            words = features[feature.feature_index]
            if len(words) > 1:
                (most,) = feature.top_tokens
                # Nothing else is known of what was dropped than that it is no more than this.
                assert 0 < feature.top_tokens_n_missed <= feature.n_active - most.n_active
            elif words:
                assert feature.top_tokens_n_missed == 0
                assert feature.top_tokens[0].n_active == feature.n_active


def test_the_one_token_of_a_planted_feature_is_stored_with_all_that_there_are_of_it(
    planted: Planted, tmp_path: Path
) -> None:
    pipeline = two_coders(planted, tmp_path, "http://127.0.0.1:9/v1")
    run_pipeline(pipeline, ("corpus", "collect"))
    reader = open_run(pipeline.run_folder).reader
    for source_id, features in ((ONE, FEATURES), (OTHER, FEATURES_2)):
        for feature in reader.features(source_id=source_id):
            if len(features[feature.feature_index]) == 1 and feature.status == "ok":
                (own,) = input_tokens(feature)
                assert own.n_occurrences == own.n_active == feature.n_active
                assert (own.recall, own.precision) == (1.0, 1.0)
                assert own.pmi is not None
                assert own.pmi > 0


def test_coders_that_disagree_about_the_bos_token_are_an_error(planted: Planted, tmp_path: Path) -> None:
    pipeline = two_coders(planted, tmp_path, "http://127.0.0.1:9/v1")
    for folder, prepends in ((planted.coder, True), (planted.coder_2, False)):
        copied = tmp_path / folder.name
        copied.mkdir()
        for file in folder.iterdir():
            (copied / file.name).write_bytes(file.read_bytes())
        described = json.loads((copied / "cfg.json").read_text())
        described["metadata"]["prepend_bos"] = prepends
        (copied / "cfg.json").write_text(json.dumps(described))
    disagreeing = with_coders(pipeline, *({"path": str(tmp_path / f.name)} for f in (planted.coder, planted.coder_2)))
    asked = disagreeing.model_copy(
        update={"corpus": pipeline.corpus.model_copy(update={"special_tokens": "tokenizer"}), "name": "asked"}
    )
    with pytest.raises(SubjectError, match=r"some of the coders were trained with a BOS token .* and some without"):
        run_pipeline(asked, ("corpus",))
    run_pipeline(disagreeing, ("corpus",))  # whose pipeline says that there are no special tokens


def test_several_shards_at_once_come_to_what_one_after_another_does(
    coders: list[dict[str, Any]], make_pipeline: Callable[..., Pipeline], shard_files: list[Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    pipeline = with_coders(make_pipeline(), *coders)
    results = []
    for n_threads in (1, 3):
        monkeypatch.setattr("autointerp.run.workers.executor.n_shards_at_once", lambda *_, n=n_threads: n)
        folders = [tmp_path / f"{n_threads}-{number}" for number in range(3)]
        parts = collect_shards(pipeline, shard_files, folders, lambda _: None)
        results.append([of_source.result() for of_source in parts])
    for one, other in zip(*results, strict=True):
        assert_same(one, other)
