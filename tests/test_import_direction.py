"""Imports go one way: from a later line of DESIGN.md's layout to an earlier one."""

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_OF_RAY = re.compile(r"^\s*(?:import|from) ray\b", re.MULTILINE)
PACKAGE = Path(__file__).resolve().parents[1] / "autointerp"
ORDER = (
    "errors",
    "python_parser",
    "whole_file",
    "valid_text",
    "json_text",
    "text_table",
    "identity",
    "assets",
    "plugins",
    "quiet",
    "hub",
    "words",
    "records",
    "config",
    "devices",
    "usual_bert",
    "query_bert",
    "mean_bert",
    "sentence_model",
    "embedder",
    "query_embedder",
    "corpus",
    "subject",
    "live",
    "collect",
    "contexts",
    "rules",
    "puzzles",
    "llm",
    "explain",
    "score",
    "store",
    "search",
    "export",
    "run",
    "library",
    "serve",
    "cli",
    "__main__",
)


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def room(module: str) -> str:
    return module.split(".")[1]


def imported_rooms(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names = [node.module or ""]
        for name in names:
            if name.startswith("autointerp."):
                yield room(name)
            assert name != "autointerp", f"{path} imports the package's surface"


def test_every_module_stands_in_a_room_of_the_layout() -> None:
    for path in modules():
        name = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        assert name in ORDER, f"{name} has no place in the layout"


def test_a_module_imports_from_earlier_rooms_only() -> None:
    against = [
        f"{path.relative_to(PACKAGE)} imports autointerp.{imported}"
        for path in modules()
        for imported in imported_rooms(path)
        if ORDER.index(imported) > ORDER.index(path.relative_to(PACKAGE).parts[0].removesuffix(".py"))
    ]
    assert against == []


def test_ray_is_imported_where_it_is_started_and_where_the_server_has_its_replicas_only() -> None:
    importing = [p.name for p in modules() if _OF_RAY.search(p.read_text(encoding="utf-8"))]
    assert importing == ["ray_cluster.py", "deployment.py"]


def test_what_serves_knows_no_torch_and_no_sql() -> None:
    for path in (PACKAGE / "serve").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not {name for name in ("import torch", "import duckdb", "SELECT ") if name in text}, path


@pytest.mark.parametrize("part", ["autointerp.collect", "autointerp.subject"])
def test_what_runs_on_a_gpu_machine_imports_without_the_rest(part: str) -> None:
    blocked = ("ray", "duckdb", "pydantic", "sae_lens", "sentence_transformers")
    code = f"import sys\nfor name in {blocked!r}: sys.modules[name] = None\nimport {part}, pkgutil, importlib\n"
    code += f"for m in pkgutil.walk_packages({part}.__path__, '{part}.'): importlib.import_module(m.name)\n"
    code += "print('imported')"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "imported", result.stderr


def test_the_command_line_imports_without_what_only_language_models_need() -> None:
    blocked = ("ray", "openai", "anthropic", "aiohttp", "httpx2")
    code = f"import sys\nfor name in {blocked!r}: sys.modules[name] = None\n"
    code += "import autointerp.cli.cost_table, autointerp.cli.demo, autointerp.run.pipeline\nprint('imported')"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "imported", result.stderr


def test_no_module_imports_itself_over_others() -> None:
    files = {".".join(("autointerp", *p.relative_to(PACKAGE).with_suffix("").parts)): p for p in modules()}
    named = {name.removesuffix(".__init__"): path for name, path in files.items()}
    graph: dict[str, set[str]] = {}
    for name, path in named.items():
        graph[name] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                graph[name] |= named.keys() & {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                # `from package import module` is of the module, not of the package.
                wanted = {f"{node.module}.{alias.name}" for alias in node.names} & named.keys() or {node.module}
                graph[name] |= named.keys() & wanted
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"imports go in a circle: {' <- '.join(error.args[1])}")
