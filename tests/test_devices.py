"""How much room a device has."""

from pathlib import Path

import pytest
import torch

from autointerp import devices
from autointerp.devices import free_memory

CPU = torch.device("cpu")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root folder of a machine that has 800 KiB left."""
    write(tmp_path, "proc", meminfo="MemTotal: 900 kB\nMemAvailable: 800 kB\n")
    monkeypatch.setattr(devices, "_ROOT", tmp_path)
    return tmp_path


def write(machine: Path, folder: str, **files: str) -> None:
    (machine / folder).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (machine / folder / name.replace("__", ".")).write_text(content)


def write_group(machine: Path, folder: str, most: str, used: int) -> None:
    stat = "anon 200000\ninactive_file 100000\n"
    write(machine, folder, memory__max=f"{most}\n", memory__current=f"{used}\n", memory__stat=stat)


def test_the_processor_has_what_the_machine_has_left() -> None:
    free = free_memory(CPU)
    held = torch.zeros(1)
    assert free is None or held.nbytes < free


def test_a_group_of_processes_may_have_less_than_the_machine(machine: Path) -> None:
    write(machine, "proc/self", cgroup="0::/\n")
    write_group(machine, "sys/fs/cgroup", "500000", 300_000)
    assert free_memory(CPU) == 300_000
    write_group(machine, "sys/fs/cgroup", "max", 300_000)
    assert free_memory(CPU) == 800 * 1024


def test_a_cluster_s_job_has_its_limit_above_the_group_of_the_process(machine: Path) -> None:
    write(machine, "proc/self", cgroup="0::/jobs/job_7/task_0\n")
    write_group(machine, "sys/fs/cgroup/jobs/job_7/task_0", "max", 100_000)
    write_group(machine, "sys/fs/cgroup/jobs/job_7", "400000", 300_000)
    assert free_memory(CPU) == 200_000


def test_groups_of_the_first_kind_are_read_too(machine: Path) -> None:
    write(machine, "proc/self", cgroup="5:devices:/a\n4:memory:/a/b\n0::/\n")
    of_memory = {"memory__limit_in_bytes": "400000\n", "memory__usage_in_bytes": "350000\n"}
    write(machine, "sys/fs/cgroup/memory/a", **of_memory, memory__stat="inactive_file 1\ntotal_inactive_file 20000\n")
    assert free_memory(CPU) == 70_000


def test_a_machine_that_does_not_tell_has_no_known_room(machine: Path) -> None:
    (machine / "proc/meminfo").unlink()
    assert free_memory(CPU) is None
