"""What a command imports: what `--help`, a mistake and a look-up don't need would be felt at every call."""

import subprocess
import sys
from pathlib import Path

import pytest

from autointerp.config import EmbedderConfig
from autointerp.embedder import Embedder
from autointerp.search.embed_labels import index_labels
from autointerp.store.reader import Reader
from autointerp.store.writer import Writer
from tests.store.making import make

STAGES = ("demo", "new", "run", "collect", "explain", "score", "index")
LOOKS = ("search", "neighbors", "show", "export", "status", "map", "mcp", "serve")
SLOW = ("torch", "transformers", "sentence_transformers", "sae_lens", "datasets", "sklearn", "scipy", "pandas", "ray")
SLOW_FOR_A_MISTAKE = ("duckdb", "pyarrow", "numpy", *SLOW)
SLOW_FOR_HELP = ("rich", "jinja2", *SLOW_FOR_A_MISTAKE)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two labelled features, indexed."""
    folder = tmp_path_factory.mktemp("small")
    writer = Writer(folder)
    labels = [make.explanation(0, "raising an exception"), make.explanation(1, "winter weather")]
    writer.add_source(make.source(2))
    writer.add_features([make.feature(0), make.feature(1)])
    writer.add_explanations(labels)
    writer.add_scores([make.graded(label) for label in labels])
    index_labels(Reader(folder), writer, Embedder(EmbedderConfig(device="cpu")))
    return folder


def without(modules: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, in which importing any of these modules fails."""
    code = f"import sys\nfor name in {modules!r}: sys.modules[name] = None\nfrom autointerp.cli import main\nmain()"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", ["", *STAGES, *LOOKS])
def test_help_needs_no_library_but_the_parsers_own(command: str) -> None:
    result = without(SLOW_FOR_HELP, *([command] if command else []), "--help")
    assert result.returncode == 0, result.stderr
    assert "Usage: " in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "nothing.toml"), "no pipeline file"),
        (("demo", "--set", "corpus.n_tken=5"), "there is no key `corpus.n_tken`"),
        (("collect", "demo", "--set", "corpus.n_tokens=many"), "corpus.n_tokens"),
        (("run", "demo", "--features", "0", "--sample", "3"), "exclude each other"),
    ],
)
def test_a_mistake_in_a_pipeline_is_told_before_anything_is_loaded(arguments: tuple[str, ...], message: str) -> None:
    result = without(SLOW_FOR_A_MISTAKE, *arguments)
    assert result.returncode == 1, result.stderr
    assert message in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("status", "RUN/nowhere"), "there is no store"),
        (("search", "RUN/nowhere", "error"), "there is no store"),
        (("mcp", "RUN/nowhere"), "there is no store"),
        (("map", "RUN/nowhere"), "there is no store"),
        (("map", "RUN", "--source", "nowhere"), "there is no source"),
        (("serve", "RUN/nowhere"), "there is no store"),
        (("show", "RUN", "99"), "0 to 1"),
        (("neighbors", "RUN", "99"), "0 to 1"),
        (("show", "RUN", "ship"), "is not a feature"),
        (("search", "RUN", " "), "the query is empty"),
    ],
)
def test_a_mistake_about_a_run_is_told_without_torch(run: Path, arguments: tuple[str, ...], message: str) -> None:
    result = without(SLOW, *(argument.replace("RUN", str(run)) for argument in arguments))
    assert result.returncode == 1, result.stderr
    assert message in result.stderr


@pytest.mark.parametrize("arguments", [("status",), ("show", "0"), ("neighbors", "0")])
def test_what_is_stored_is_looked_up_without_torch(run: Path, arguments: tuple[str, ...]) -> None:
    command, *rest = arguments
    result = without(SLOW, command, str(run), *rest)
    assert result.returncode == 0, result.stderr
    assert result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_an_export_of_text_needs_no_torch(run: Path, tmp_path: Path, suffix: str) -> None:
    result = without((*SLOW, "pyarrow.parquet"), "export", str(run), str(tmp_path / f"labels.{suffix}"))
    assert result.returncode == 0, result.stderr
    assert "raising an exception" in (tmp_path / f"labels.{suffix}").read_text(encoding="utf-8")


def test_a_search_needs_no_torch(run: Path) -> None:
    result = without(SLOW, "search", str(run), "error handling", "-k", "1")
    assert result.returncode == 0, result.stderr
    assert "raising an exception" in result.stdout
    assert result.stderr == ""


def test_the_server_of_agents_greets_before_anything_slow_is_loaded(run: Path) -> None:
    result = without(SLOW, "mcp", str(run))
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
