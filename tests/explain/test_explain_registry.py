"""Explainers by name: ours, and those that users write."""

import asyncio
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from autointerp.config import ExplainConfig
from autointerp.errors import PipelineError, PromptError
from autointerp.explain.base import BaseExplainer
from autointerp.explain.llm_explainer import LlmExplainer
from autointerp.explain.registry import BUILT_IN, load_explainer
from autointerp.llm import Journal
from autointerp.records import Explanation
from tests.explain.explaining import FINGERPRINT, MONTHS, ask, config, evidence, tools
from tests.loopback.server import Always, Say

HERE = Path(__file__).parent
LOCAL = """
from autointerp.explain.base import BaseExplainer


class Longest(BaseExplainer):
    name = "longest"

    async def explain(self, evidence):
        words = [token for context in evidence.active for token in context.tokens]
        return self.explanation(evidence, max(words, key=len).strip())
"""
ASKING = """
from autointerp.explain.llm_explainer import LlmExplainer


class Asking(LlmExplainer):
    name = "asking"
    prompt = "asking.txt"

    def variables(self, shown):
        return {"n": str(len(shown.active))}
"""
PROMPT = "[system]\nName it.\n[user]\n{{ n }} contexts\n"


def write(folder: Path, code: str = ASKING, prompt: str | None = PROMPT, name: str = "mine.py") -> Path:
    file = folder / name
    file.write_text(dedent(code), encoding="utf-8")
    if prompt is not None:
        (folder / "asking.txt").write_text(prompt, encoding="utf-8")
    return file


def asking(file: Path) -> type[LlmExplainer]:
    explainer = load_explainer(f"{file}:Asking")
    assert issubclass(explainer, LlmExplainer)
    return explainer


def test_ours_are_found_by_the_names_that_they_give_themselves() -> None:
    for name in BUILT_IN:
        assert load_explainer(name).name == name


@pytest.mark.parametrize("name", ["keywords", "outside"])
def test_a_local_explainer_loads_no_providers_sdk(name: str) -> None:
    code = f"import sys; from autointerp.explain.registry import load_explainer; load_explainer({name!r});"
    code += "print(sorted({'openai', 'anthropic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_example_of_the_documentation_works_as_it_stands(journal: Journal) -> None:
    explainer = load_explainer(f"{HERE / 'example_explainer.py'}:KindOfText")
    assert issubclass(explainer, LlmExplainer)
    asked = ask(explainer, Always(Say('{"label": "old letters"}')), journal, evidence(MONTHS))
    assert (asked.explanation.label, asked.explanation.explainer) == ("old letters", "kind_of_text")
    assert asked.calls[0].user.splitlines()[0] == '1: "it was signed in April 1648"'
    n_lines = sum(len((HERE / f"example_explainer.{end}").read_text().splitlines()) for end in ("py", "txt"))
    assert n_lines + len('[explain]\nexplainer = "example_explainer.py:KindOfText"'.splitlines()) < 40


def test_a_user_s_explainer_may_stand_in_a_module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(tmp_path, name="their_explainers.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    explainer = load_explainer("their_explainers:Asking")
    assert explainer.name == "asking"
    assert explainer.settings_fingerprint(config()) == asking(tmp_path / "their_explainers.py").settings_fingerprint(
        config()
    )


def test_a_local_explainer_of_a_user_s_needs_no_model(tmp_path: Path) -> None:
    explainer = load_explainer(f"{write(tmp_path, LOCAL)}:Longest")
    assert issubclass(explainer, BaseExplainer)
    assert not explainer.asks_model(ExplainConfig())
    said = asyncio.run(explainer(tools(ExplainConfig())).explain(evidence(MONTHS)))
    assert isinstance(said, Explanation)
    assert (said.label, said.explainer, said.fingerprint) == ("signed", "longest", FINGERPRINT)


def test_its_fingerprint_follows_its_file_its_prompt_and_its_settings(tmp_path: Path) -> None:
    file = write(tmp_path)
    fingerprints = [asking(file).settings_fingerprint(config())]
    (tmp_path / "elsewhere").mkdir()
    moved = write(tmp_path / "elsewhere")
    assert asking(moved).settings_fingerprint(config()) == fingerprints[0], "not where it lies"
    write(tmp_path, prompt=PROMPT.replace("Name", "Call"))
    fingerprints.append(asking(file).settings_fingerprint(config()))
    write(tmp_path, ASKING.replace("len(shown.active)", "len(shown.active) + 0"))
    fingerprints.append(asking(file).settings_fingerprint(config()))
    fingerprints.append(asking(file).settings_fingerprint(config(n_contexts=3)))
    assert len(set(fingerprints)) == 4


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (None, "there is no file .*mine.py for an explainer"),
        ("Other = 3", "mine.py has no class 'Asking'"),
        ("Asking = 3", "Asking in .*mine.py is not an explainer: derive it from"),
        ("class Asking: name = 'asking'", "Asking in .*mine.py is not an explainer: derive it from"),
        (
            "from autointerp.explain.base import BaseExplainer as Asking",
            "in .*mine.py lacks explain, name: add it",
        ),
        (LOCAL.replace("Longest", "Asking").replace('name = "longest"', ""), "Asking in .*mine.py lacks name"),
        (
            LOCAL.replace("Longest", "Asking").replace('name = "longest"', 'name = "longest"\n    version = "2"'),
            "version = '2'",
        ),
        ("1 / 0", r"mine.py can't be imported \(ZeroDivisionError: division by zero\): mend that file"),
        ("import nothing_of_the_kind", r"mine.py can't be imported \(ModuleNotFoundError: No module named"),
        ("class Asking(\n", r"mine.py can't be imported \(SyntaxError: .*, line 1\)"),
        ("raise SystemExit(0)", r"mine.py can't be imported \(SystemExit: 0\)"),
    ],
    ids=[
        "no_file",
        "no_class",
        "no_type",
        "no_base",
        "abstract",
        "nameless",
        "mistyped",
        "raises",
        "lacks",
        "no_python",
        "exits",
    ],
)
def test_a_file_that_is_no_explainer_is_told_in_one_line(tmp_path: Path, code: str | None, said: str) -> None:
    file = tmp_path / "mine.py" if code is None else write(tmp_path, code)
    with pytest.raises(PipelineError, match=said) as caught:
        load_explainer(f"{file}:Asking")
    assert "\n" not in str(caught.value)


def test_a_module_that_is_no_explainer_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(tmp_path, "import not_installed_at_all", name="breaking_module.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, said in [
        ("no_such_package.part:Asking", "there is no module 'no_such_package.part' for an explainer"),
        ("json.no_such_part:Asking", "there is no module 'json.no_such_part' for an explainer"),
        ("breaking_module:Asking", "breaking_module can't be imported .*not_installed_at_all"),
        ("json:JSONDecoder", "JSONDecoder in json is not an explainer"),
        ("json:", "there is no explainer 'json:'"),
        (":Asking", "there is no explainer ':Asking'"),
        ("nonsense", "there is no explainer 'nonsense': one of keywords"),
    ]:
        with pytest.raises(PipelineError, match=said):
            load_explainer(name)


@pytest.mark.parametrize(
    ("code", "prompt", "said"),
    [
        (ASKING, None, "'asking' has no readable prompt file .*asking.txt: put it beside"),
        (ASKING, "Name it.", "prompt 'asking.txt' has no \\[user\\] part"),
        (ASKING, "[system]\n{{ n }}\n[user]\n{{ n }}", "variables in its fixed part"),
        (ASKING.replace('    prompt = "asking.txt"\n', ""), PROMPT, "'asking' names no prompt: "),
        (ASKING.replace("asking.txt", "no_such_prompt"), PROMPT, "no prompt file .*no_such_prompt.txt"),
    ],
)
def test_a_prompt_that_is_missing_or_malformed_is_told(
    tmp_path: Path, code: str, prompt: str | None, said: str
) -> None:
    with pytest.raises(PromptError, match=said):
        asking(write(tmp_path, code, prompt)).settings_fingerprint(config())


def test_a_prompt_whose_variables_are_others_is_told_when_it_is_filled(tmp_path: Path, journal: Journal) -> None:
    explainer = asking(write(tmp_path, prompt=PROMPT.replace("{{ n }}", "{{ m }}")))
    with pytest.raises(PromptError, match=r"'asking\.txt' uses m, which it is not given"):
        ask(explainer, Always(Say('{"label": "x"}')), journal)


def test_one_that_asks_a_model_says_that_it_needs_one(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"the explainer 'asking' asks a language model: add a table \[explain"):
        asking(write(tmp_path)).settings_fingerprint(ExplainConfig())


def test_an_answer_of_another_kind_needs_a_reader(tmp_path: Path) -> None:
    code = ASKING + ("    answer = Answer\n")
    code = code.replace(
        "\n\nclass Asking",
        "\nfrom autointerp.llm.protocol import AnswerModel\n\n\nclass Answer(AnswerModel):\n"
        "    word: str\n\n\nclass Asking",
    )
    with pytest.raises(PipelineError, match="the explainer 'asking' asks for Answer, and has no `read` for it"):
        asking(write(tmp_path, code)).settings_fingerprint(config())


def test_the_documentation_shows_the_example_as_it_is_run() -> None:
    page = (HERE.parents[1] / "docs/explainers.md").read_text(encoding="utf-8")
    for name in ("example_explainer.py", "example_explainer.txt"):
        assert (HERE / name).read_text(encoding="utf-8").strip() in page
