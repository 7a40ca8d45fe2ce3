"""The notebook runs from top to bottom, and shows the kinds of things that it would show today.

`make notebook` writes what it shows anew.
"""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.docs.conftest import SmallRun
from tests.docs.pages import ROOT
from tests.docs.world import in_small

NOTEBOOK = ROOT / "docs/library.ipynb"


def read() -> Any:
    return nbformat.reads(NOTEBOOK.read_text(encoding="utf-8"), as_version=4)


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(cell: Any) -> set[str]:
    """What kinds of output a cell has: the numbers differ from run to run."""
    return {
        " ".join([output.get("name", output.output_type), *sorted(output.get("data", {}))]) for output in cell.outputs
    }


def test_the_notebook_was_run_from_top_to_bottom_and_shows_no_machine() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < 300_000
    assert not re.findall(r"/(?:root|home|work|tmp|usr|Users)/", text)
    cells = code(read())
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        assert cell.outputs
        assert not {"stderr", "error"} & {output.get("name", output.output_type) for output in cell.outputs}


@pytest.mark.slow
def test_every_cell_of_the_notebook_runs_and_shows_what_kinds_it_shows_in_the_file(
    small_run: SmallRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTHONWARNINGS", "ignore:IProgress not found")
    (tmp_path / "docs").mkdir()
    (tmp_path / "runs").symlink_to(small_run.folder / "runs")
    notebook = read()
    for cell in notebook.cells:
        # No two planted features fire together.
        cell.source = in_small(cell.source).replace('"coactivation"', '"decoder"')
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path / "docs")}}).execute()
    for written, run in zip(code(read()), code(notebook), strict=True):
        assert kinds(run) == kinds(written), written.source
