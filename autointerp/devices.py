"""Which device of this machine a config names."""

import torch

from autointerp.errors import SubjectError


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
