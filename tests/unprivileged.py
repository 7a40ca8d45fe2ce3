"""Commands for which permissions hold also where the tests run as root."""

import ctypes
import subprocess
from collections.abc import Sequence

_PR_CAPBSET_DROP = 24
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2


def run_unprivileged(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Run a command that may do to a file only what its permissions allow."""
    return subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=_drop_what_root_may)


def _drop_what_root_may() -> None:
    # Refused to whoever is not root, and not needed then.
    libc = ctypes.CDLL(None)
    for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
