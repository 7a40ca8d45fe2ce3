"""What is claimed of the live subject, measured: `python -m benchmarks.steer PART`, one of the files `steer_PART.py`.

Each part says what it measures, and what it takes, with `--help`. The results stand in `steer.md`.
"""

import runpy
import sys
from pathlib import Path


def main() -> None:
    """Run a part."""
    parts = sorted(file.stem.removeprefix("steer_") for file in Path(__file__).parent.glob("steer_*.py"))
    if len(sys.argv) < 2 or sys.argv[1] not in parts:
        raise SystemExit(f"{__doc__}\nParts: {', '.join(parts)}")
    module = f"benchmarks.steer_{sys.argv.pop(1)}"
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
