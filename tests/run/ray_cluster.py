"""A real Ray cluster on this machine, as `ray start` makes one: each node a process with processes of its own.

It listens on 127.0.0.1 alone and wants a token. Run as a program, this file is a driver: it collects on such a cluster,
says what it does line by line, and waits after each shard until it is told to go on.
"""

import contextlib
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RAY = "from ray.scripts.scripts import main; main()"
# Ray takes the machine's outside address for 127.0.0.1, and would listen on all of them. There is a switch against it
# (`RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER`), but with it `ray start` refuses a second node.
RAY_ON_LOOPBACK = f"from ray._private import services; services.resolve_ip_for_localhost = lambda host: host; {RAY}"
NODES = "import ray, sys; ray.init(sys.argv[1], logging_level=40); print(sum(n['Alive'] for n in ray.nodes()))"
START_WITHIN_S = 60


@dataclass(frozen=True, slots=True)
class RayNode:
    """A node: `ray start --block` and its descendants, which are a session of their own."""

    process: "subprocess.Popen[bytes]"

    def processes(self) -> list[int]:
        """Ids of all processes of the node."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                state, *numbers = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(numbers[2]) == self.process.pid and state != "Z":
                    found.append(int(folder.name))
        return found

    def kill(self) -> None:
        """Kill the node, as a machine that loses its power."""
        while processes := self.processes():
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            self.process.wait()
            time.sleep(0.02)


@dataclass(frozen=True, slots=True)
class RayCluster:
    """A head and the nodes that are added; `nodes` holds all of them, the head first."""

    folder: Path
    address: str
    environment: dict[str, str]
    nodes: list[RayNode] = field(default_factory=list)

    def start_head(self, n_cpus: int) -> RayNode:
        port = self.address.partition(":")[2]
        on_loopback = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
        options = ["--head", f"--port={port}", f"--temp-dir={self.folder}", "--include-dashboard=false"]
        return self._start(RAY, [*options, "--disable-usage-stats", f"--num-cpus={n_cpus}"], on_loopback)

    def add_node(self, *options: str, environment: dict[str, str] | None = None) -> RayNode:
        return self._start(RAY_ON_LOOPBACK, [f"--address={self.address}", *options], environment or {})

    def count_nodes(self) -> int:
        """Nodes that are alive, as Ray knows it."""
        command = [sys.executable, "-c", NODES, self.address]
        answer = subprocess.run(command, env=self.driver_environment, capture_output=True, check=True, timeout=60)
        return int(answer.stdout.split()[-1])

    @property
    def driver_environment(self) -> dict[str, str]:
        return {**self.environment, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}

    def _start(self, program: str, options: list[str], environment: dict[str, str]) -> RayNode:
        log = self.folder / f"node-{len(self.nodes)}.log"
        common = ["--node-ip-address=127.0.0.1", "--object-store-memory=80000000", "--include-log-monitor=false"]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", program, "start", "--block", *common, *options],
                env=self.environment | environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,
            )
        self.nodes.append(RayNode(process))
        until = time.monotonic() + START_WITHIN_S
        while "Ray runtime started" not in log.read_text(errors="replace"):
            assert process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < until, log.read_text(errors="replace")
            time.sleep(0.1)
        return self.nodes[-1]


@contextlib.contextmanager
def ray_cluster(n_cpus_of_head: int = 1) -> Iterator[RayCluster]:
    """A cluster that is gone afterwards, whatever happens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # Not pytest's folder: a socket's path may have about a hundred characters.
    folder = Path(tempfile.mkdtemp(prefix="ray-cluster-"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "OMP_NUM_THREADS": "1",
    }
    cluster = RayCluster(folder, f"127.0.0.1:{port}", environment)
    try:
        cluster.start_head(n_cpus_of_head)
        yield cluster
    finally:
        for node in reversed(cluster.nodes):
            node.kill()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Driver:
    """A process that collects on a cluster."""

    process: "subprocess.Popen[str]"

    def lines(self) -> Iterator[str]:
        """What it says, to its end; after `shard n of m` it waits for `go_on`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            yield line.rstrip("\n")
        self.process.wait()

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def to_the_end(self) -> list[str]:
        """Let it run; all that it says."""
        said = []
        for line in self.lines():
            said.append(line)
            if line.startswith("shard "):
                self.go_on()
        return said


@contextlib.contextmanager
def driver(
    cluster: RayCluster, pipeline: Any, shard_files: list[Path], out: Path, **environment: str
) -> Iterator[Driver]:
    """Collect in a process of its own: Ray may end it, and this one may have a Ray of its own."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "pipeline.json").write_text(pipeline.model_dump_json(exclude_none=True))
    process = subprocess.Popen(
        [sys.executable, __file__, str(out), *map(str, shard_files)],
        env=cluster.driver_environment | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=cluster.folder,
        text=True,
    )
    try:
        yield Driver(process)
    finally:
        process.kill()
        process.communicate()


def main() -> int:
    from autointerp.config import Pipeline
    from autointerp.errors import AutointerpError
    from autointerp.run.workers import ray_watch
    from autointerp.run.workers.executor import CollectProgress, collect_shards

    logging.basicConfig(stream=sys.stdout, format="%(message)s")
    logging.getLogger("autointerp").setLevel(logging.DEBUG)
    ray_watch._HEAD_AWAY_AT_MOST_S = 4.0  # no head comes back here
    out, *shard_files = map(Path, sys.argv[1:])

    def wait(progress: CollectProgress) -> None:
        print(f"shard {progress.n_done} of {progress.n_shards}", flush=True)
        sys.stdin.readline()

    try:
        collect_shards(Pipeline.model_validate_json((out / "pipeline.json").read_text()), shard_files, [out], wait)
    except AutointerpError as error:
        print(f"error: {error}")
        return 1
    print("all done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
