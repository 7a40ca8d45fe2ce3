"""Which device of this machine a config names, how much room it has, and when it had too little."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

import torch

from autointerp.errors import SubjectError

_ROOT = Path("/")
# Of control groups, where they are, and the files with the most and what is used; what of that is let go when needed.
_GROUPS_1 = ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_GROUPS_2 = ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file")


def find_device(name: str, key: str = "subject.device") -> torch.device:
    """The device of a config's `device`; `auto` takes a GPU where there is one.

    Args:
        name: What the config says.
        key: Where it says so, for messages.

    Raises:
        SubjectError: If this machine has no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SubjectError(
            f"there is no kind of device called {name!r}", f"set {key} to auto, cpu, cuda, cuda:1 or mps"
        ) from error
    n_devices = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= n_devices.get(device.type, 0):
        raise SubjectError(f"this machine has no device {name!r}", f"set {key} to auto or cpu")
    return device


def n_gpus() -> int:
    """GPUs of this machine."""
    return torch.cuda.device_count()


def free_memory(device: torch.device) -> int | None:
    """Bytes that can still be had on a device; None where it does not tell (macOS).

    Of the processor's memory that is what the machine has left, or a control group that this process is in.
    """
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by PyTorch, for what comes
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    left = [*_left_to_machine(), *_left_to_groups()]
    return max(0, min(left)) if left else None


def _left_to_machine() -> Iterator[int]:
    with suppress(OSError):
        said = dict(line.split(":", 1) for line in _lines("proc/meminfo"))
        if "MemAvailable" in said:
            yield int(said["MemAvailable"].split()[0]) * 1024


def _left_to_groups() -> Iterator[int]:
    """What each control group of this process may still take, and each that it lies in: a job's limit is set above."""
    with suppress(OSError):
        for line in _lines("proc/self/cgroup"):
            _, controllers, path = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            folder, *names = _GROUPS_1 if controllers else _GROUPS_2
            inner = PurePosixPath(path.strip("/"))
            for group in (inner, *inner.parents):
                yield from _left_to_group(f"{folder}/{group}", *names)


def _left_to_group(folder: str, most: str, used: str, freed: str) -> Iterator[int]:
    with suppress(OSError, ValueError):  # the most may be the word `max`
        left = int(_lines(f"{folder}/{most}")[0]) - int(_lines(f"{folder}/{used}")[0])
        stat = dict(line.split() for line in _lines(f"{folder}/memory.stat"))
        yield left + int(stat.get(freed, "0"))


def _lines(file: str) -> list[str]:
    return (_ROOT / file).read_text(encoding="utf-8").splitlines()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the machine, had no room. The processor's allocator has no exception of its own."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
