"""Stages of the demo in a process of their own, each timed: the part of `benchmarks.demo` that does the work.

    python -m benchmarks.demo_worker RUNS SAMPLE STAGE ...

Prints one line of JSON a stage, and one for what came before the first: wall-clock and CPU seconds, and the stage's own
summary.
"""

import sys
import time

STARTED = time.perf_counter() - time.process_time()  # what came before this line was the interpreter, busy on one core


class StageClock:
    """A reporter that notes what each stage took."""

    def __init__(self) -> None:
        self._wall, self._cpu = STARTED, 0.0

    def progress(
        self, stage: str, n_done: int, n_total: int, note: str = "", *, seconds_left: float | None = None
    ) -> None:
        """Nobody watches."""

    def finished(self, summary: "StageSummary") -> None:
        """Print the stage's times."""
        self.tell(summary.stage, summary.line())

    def say(self, line: str) -> None:
        """Nobody listens."""

    def tell(self, name: str, line: str = "") -> None:
        """Print what was taken since the last time."""
        wall, cpu = time.perf_counter(), time.process_time()
        print(json.dumps({"stage": name, "wall": wall - self._wall, "cpu": cpu - self._cpu, "line": line}), flush=True)
        self._wall, self._cpu = wall, cpu


def main() -> None:
    """Run the stages, and what `autointerp demo` prints at the end where all were asked for."""
    runs, sample, *stages = sys.argv[1:]
    clock = StageClock()
    overrides = (f"runs={runs}", *((f"features.sample={sample}",) if sample else ()))
    pipeline = load_pipeline("demo", overrides)
    clock.tell("imports")
    run_pipeline(pipeline, [stage for stage in STAGES if stage in stages], reporter=clock)
    if set(stages) == set(STAGES):
        demo_lines(open_run(pipeline.run_folder))
        clock.tell("showing")


if __name__ == "__main__":
    import json

    from autointerp import load_pipeline, open_run, run_pipeline
    from autointerp.cli.demo import demo_lines
    from autointerp.run.pipeline import STAGES
    from autointerp.run.progress import StageSummary

    main()
