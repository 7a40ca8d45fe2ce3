"""Collecting on a real Ray cluster of several nodes, which die, are too small, or can't work."""

import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from autointerp import load_pipeline, run_pipeline
from autointerp.collect.merge import ShardPart
from autointerp.collect.shards import save_part
from autointerp.config import Pipeline, RayConfig
from autointerp.errors import CollectError, PipelineError, ShardError
from autointerp.run.on_disk.manifest import read_manifest
from autointerp.run.workers import ray_worker
from autointerp.run.workers.executor import collect_shards
from tests.run.planted import Planted
from tests.run.ray_cluster import RayCluster, driver, ray_cluster

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_alone")]

N_SHARDS = 40


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with ray_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def corpus(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> tuple[Pipeline, list[Path]]:
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "p.toml").write_text(planted.toml("p", folder / "runs"), encoding="utf-8")
    pipeline = load_pipeline(str(folder / "p.toml"), ("corpus.blocks_per_shard=9", "collect.batch_size=2"))
    run_pipeline(pipeline, stages=("corpus",))
    return pipeline, read_manifest(pipeline.run_folder / "corpus").paths(pipeline.run_folder / "corpus")


def on(cluster: RayCluster, pipeline: Pipeline, n_workers: int, **settings: float) -> Pipeline:
    table = {"address": cluster.address, "n_workers": n_workers, **settings}
    return Pipeline.model_validate(pipeline.model_dump() | {"ray": table})


def result(pipeline: Pipeline, shard_files: list[Path], out: Path, name: str) -> tuple[bytes, int]:
    """What was collected, as a file's bytes, and the shards that had to be done for it here."""
    here = pipeline.model_copy(update={"ray": pipeline.ray.model_copy(update={"n_workers": 0})})
    resumed: list[bool] = []
    (parts,) = collect_shards(here, shard_files, [out], lambda progress: resumed.append(progress.is_resumed))
    file = out.with_name(f"{name}.safetensors")
    save_part(file, ShardPart(0, parts.result()), "x")
    return file.read_bytes(), resumed.count(False)


@pytest.mark.slow
def test_a_node_killed_in_the_middle_changes_nothing_in_the_result(
    cluster: RayCluster, corpus: tuple[Pipeline, list[Path]], tmp_path: Path
) -> None:
    pipeline, shard_files = corpus
    assert len(shard_files) == N_SHARDS
    second = cluster.add_node("--num-cpus=1")
    assert cluster.count_nodes() == 2
    on_cluster = on(cluster, pipeline, n_workers=8)
    n_ready, n_since_stopped, stopped, said = 0, 0, None, []
    with driver(cluster, on_cluster, shard_files, tmp_path / "cluster") as collecting:
        for line in collecting.lines():
            said.append(line)
            n_ready += line.endswith(" is ready")
            done = re.match(r"shard-\d+\.npz was done by the worker (\d+)", line)
            if done and stopped is None and int(done[1]) in second.processes():
                # It has done a shard, and will be given another, which it holds when it is killed.
                stopped = int(done[1])
                os.kill(stopped, signal.SIGSTOP)
            if line.startswith("shard "):
                if n_ready < 2:
                    time.sleep(1)
                n_since_stopped += stopped is not None
                if n_since_stopped == 4:
                    second.kill()
                collecting.go_on()
    assert said[-1] == "all done", "\n".join(said)
    assert "room for 2 of 8 workers, at 1 CPU + 0 GPU each: 2 nodes (1 CPU + 0 GPU, 1 CPU + 0 GPU)" in "\n".join(said)
    (lost,) = [line for line in said if "the shard is done again" in line]
    assert lost.startswith(f"the worker {stopped} on ")
    (shard,) = re.findall(r"shard-\d+\.npz", lost)
    done_by = dict(done for line in said for done in re.findall(r"(shard-\d+\.npz) was done by the worker (\d+)", line))
    assert len(done_by) == sum("was done by" in line for line in said) == N_SHARDS
    assert len(set(done_by.values())) == 2
    assert done_by[shard] != str(stopped)
    undisturbed, _ = result(pipeline, shard_files, tmp_path / "here", "undisturbed")
    assert result(on_cluster, shard_files, tmp_path / "cluster", "killed") == (undisturbed, 0)


@pytest.mark.slow
def test_a_cluster_without_room_for_any_worker_is_an_error_that_says_what_there_is(
    cluster: RayCluster, corpus: tuple[Pipeline, list[Path]], tmp_path: Path
) -> None:
    on_gpus = on(cluster, corpus[0], n_workers=2, gpus_per_worker=1, start_timeout_s=3)
    with driver(cluster, on_gpus, corpus[1], tmp_path) as collecting:
        said = collecting.to_the_end()
    assert collecting.process.returncode == 1
    assert said[-1].startswith(
        "error: no Ray worker could start within 3 s: each asks for 1 CPU + 1 GPU, and the cluster"
    )
    # Where a node has just been killed, Ray may not have missed it yet.
    assert re.search(r"has (1 node|2 nodes) \(1 CPU \+ 0 GPU", said[-1])


@pytest.mark.slow
def test_a_node_without_the_package_is_one_line(
    cluster: RayCluster, corpus: tuple[Pipeline, list[Path]], tmp_path: Path
) -> None:
    (tmp_path / "autointerp").mkdir()
    (tmp_path / "autointerp" / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'autointerp'\")")
    without = cluster.add_node("--num-cpus=1", "--num-gpus=1", environment={"PYTHONPATH": str(tmp_path)})
    try:
        on_gpus = on(cluster, corpus[0], n_workers=1, gpus_per_worker=1)
        with driver(cluster, on_gpus, corpus[1], tmp_path / "out") as collecting:
            said = collecting.to_the_end()
    finally:
        without.kill()
    assert collecting.process.returncode == 1
    assert said[-1] == (
        "error: a Ray worker can't start (ModuleNotFoundError: No module named 'autointerp'): every node needs the "
        "same Python, with autointerp and Ray in the same versions as here"
    )


@pytest.mark.slow
def test_a_head_that_dies_is_one_line_and_what_was_finished_stays(
    corpus: tuple[Pipeline, list[Path]], tmp_path: Path
) -> None:
    pipeline, shard_files = corpus
    with ray_cluster() as cluster, driver(cluster, on(cluster, pipeline, 1), shard_files, tmp_path / "a") as collecting:
        said = []
        for line in collecting.lines():
            said.append(line)
            if line == "shard 5 of 40":
                cluster.nodes[0].kill()
            if line.startswith("shard "):
                collecting.go_on()
    assert collecting.process.returncode == 1
    assert re.fullmatch(r"error: the head of the Ray cluster, [\d.:]+, is gone: run again .* are kept", said[-1])
    n_finished = sum(line.startswith("shard ") for line in said)
    undisturbed, _ = result(pipeline, shard_files, tmp_path / "here", "undisturbed")
    again, n_done_again = result(pipeline, shard_files, tmp_path / "a", "again")
    assert again == undisturbed
    assert N_SHARDS - n_done_again >= n_finished


def test_an_address_where_nothing_answers_is_one_line(corpus: tuple[Pipeline, list[Path]], tmp_path: Path) -> None:
    pipeline, shard_files = corpus
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        nowhere = pipeline.model_copy(update={"ray": RayConfig(address=address, n_workers=1)})
        with pytest.raises(CollectError, match=rf"nothing answers at ray\.address = '{address}'"):
            collect_shards(nowhere, shard_files, [tmp_path / "out"], lambda _: None)


def test_an_address_without_workers_says_which_key_is_missing(planted: Planted, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(planted.toml("p", tmp_path), encoding="utf-8")
    with pytest.raises(PipelineError, match=r"ray: ray\.address needs ray\.n_workers, for example the number"):
        load_pipeline(str(tmp_path / "p.toml"), ("ray.address=auto",))
    assert load_pipeline(str(tmp_path / "p.toml"), ("ray.address=auto", "ray.n_workers=2")).ray.n_workers == 2


def test_a_worker_that_does_not_share_the_run_folder_says_so(
    corpus: tuple[Pipeline, list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_worker, "_SEEN_WITHIN_S", 0.1)
    worker = ray_worker.CollectWorker(corpus[0], [])
    answer = worker.load(1, [corpus[1][0], tmp_path / ".shared-1"])
    assert isinstance(answer, ShardError)
    assert answer.problem.endswith(f"does not see {tmp_path / '.shared-1'}")
    assert "the same absolute path" in answer.remedy
    (tmp_path / ".shared-1").touch()
    assert worker.load(1, [corpus[1][0], tmp_path / ".shared-1"]) == 1
