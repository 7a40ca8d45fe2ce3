"""What unpacking the packaged SmolLM2 into the cache costs, and what loading it from there does, each in a new process.

    python -m benchmarks.packaged_model [--repeats 3]      # about two minutes on one core, in a cache folder of its own

The result stands in `packaged_model.md`.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MODEL = "packaged:smollm2-135m-instruct"
_FOLDER = f"from autointerp.subject.packaged import packaged_folder; packaged_folder('{MODEL}')"
STEPS = {
    "import torch and transformers' Llama": "import torch; from transformers import LlamaModel",
    "unpack (none in the cache), and no more": _FOLDER,
    "find it unpacked, all files' digests right": _FOLDER,
    "load it from the cache as a subject": (
        "from autointerp.config import SubjectConfig; from autointerp.subject.model import load_subject;"
        f"load_subject(SubjectConfig(model='{MODEL}', device='cpu'))"
    ),
    "load it from GGUF by transformers, tokenizer too": (
        "from autointerp.subject.packaged import PACKAGES, _installed_file;"
        "from transformers import AutoModel, AutoTokenizer; import torch;"
        f"file = _installed_file(PACKAGES['{MODEL.partition(':')[2]}'], '{MODEL}')[0];"
        "AutoModel.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32);"
        "AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)"
    ),
}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    n_repeats = parser.parse_args().repeats
    print(f"load {os.getloadavg()[0]:.1f} at the start\n| | CPU s | wall s |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as cache:
        for step, code in STEPS.items():
            costs = []
            for repeat in range(n_repeats):
                place = str(Path(cache, str(repeat) if step.startswith("unpack") else "0"))
                costs.append(_cost(code, os.environ | {"XDG_CACHE_HOME": place}))
            cpu_s, wall_s = (statistics.median(values) for values in zip(*costs, strict=True))
            print(f"| {step} | {cpu_s:.1f} | {wall_s:.1f} |", flush=True)
        size = sum(file.stat().st_size for file in Path(cache, "0").rglob("*"))
    print(f"\nin the cache: {size / 1e6:.0f} MB; load {os.getloadavg()[0]:.1f} at the end")


def _cost(code: str, environment: dict[str, str]) -> tuple[float, float]:
    """CPU and wall-clock seconds of a process."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = status  # it has been waited for
    if status:
        raise SystemExit(f"this failed: {code}")
    return used.ru_utime + used.ru_stime, time.monotonic() - began


if __name__ == "__main__":
    main()
