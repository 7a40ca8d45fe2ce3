"""What is wrong with a file of labels, told at once: a file is mended once, not row by row."""

from dataclasses import dataclass, field
from pathlib import Path

from autointerp.errors import PipelineError

_N_SHOWN = 20


@dataclass(slots=True)
class Faults:
    """The faults of a file as they are found.

    Attributes:
        path: The file.
    """

    path: Path
    _shown: list[PipelineError] = field(default_factory=list)
    _n: int = 0

    def add(self, place: str, problem: str, remedy: str) -> None:
        """Note that something is wrong; `place` says where, and is empty for the whole file."""
        self._n += 1
        if len(self._shown) < _N_SHOWN:
            where = f"{self.path}, {place}" if place else str(self.path)
            self._shown.append(PipelineError(f"{where}: {problem}", remedy))

    def raise_any(self) -> None:
        """Stop if anything is wrong.

        Raises:
            PipelineError: With the first faults and the number of all.
        """
        if self._n == 1:
            raise self._shown[0]
        if self._n:
            of_file = [str(fault).removeprefix(f"{self.path}, ") for fault in self._shown]
            more = [f"and {self._n - _N_SHOWN:,} more"] if self._n > _N_SHOWN else []
            raise PipelineError(
                f"{self.path} has {self._n:,} faults", "mend these rows, or leave them out", (*of_file, *more)
            )

    def add_all(self, of_file: "Faults", place: Path) -> None:
        """Take over what is wrong with one file of several."""
        for fault in of_file._shown:
            if len(self._shown) < _N_SHOWN:
                problem = fault.problem.removeprefix(f"{self.path}, ")
                self._shown.append(PipelineError(f"{self.path}, {place}, {problem}", fault.remedy))
        self._n += of_file._n
