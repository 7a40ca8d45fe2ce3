"""What a language model is told of the corpus, and how the corpus decides it."""

from pathlib import Path
from typing import Any

import pytest

from autointerp.corpus.nature import Nature
from autointerp.errors import AutointerpError
from autointerp.explain.domain import DOMAINS, domain_of, read_paragraph
from autointerp.explain.explainers.contrastive import ContrastiveExplainer
from autointerp.explain.explainers.evidence import EvidenceExplainer
from autointerp.explain.explainers.examples import ExamplesExplainer
from autointerp.explain.llm_explainer import LlmExplainer
from autointerp.llm import Journal
from tests.explain.explaining import ask as ask_explainer
from tests.explain.explaining import config, evidence, tools
from tests.loopback.server import Always, Say

GOLDEN = Path(__file__).parent
PARAGRAPHS = [name for name in DOMAINS if name not in ("auto", "general")]
SAID = Always(Say('{"label": "months", "excludes": "", "side": "input"}'))


def fingerprint(explainer: type[LlmExplainer], domain: str) -> str:
    return explainer.settings_fingerprint(config().model_copy(update={"domain": domain}))


def ask(journal: Journal, domain: str, explainer: type[LlmExplainer] = ExamplesExplainer) -> Any:
    return ask_explainer(explainer, SAID, journal, evidence(), domain=domain)


@pytest.mark.parametrize("domain", PARAGRAPHS)
def test_the_prompt_of_a_domain_is_the_golden_one(journal: Journal, domain: str) -> None:
    asked = ask(journal, domain)
    assert asked.prompt == (GOLDEN / f"golden_domain_{domain}.txt").read_text(encoding="utf-8")
    assert asked.explanation.detail == {"domain": domain}


@pytest.mark.parametrize("explainer", [ExamplesExplainer, ContrastiveExplainer, EvidenceExplainer])
def test_a_domain_adds_a_paragraph_and_changes_nothing_else(journal: Journal, explainer: type[LlmExplainer]) -> None:
    general, code = ask(journal, "general", explainer), ask(journal, "code", explainer)
    assert code.calls[-1].system == f"{general.calls[-1].system}\n\n{read_paragraph('code')}"
    assert code.calls[-1].user == general.calls[-1].user
    assert "domain" not in general.explanation.detail
    assert code.explanation.prompt_sha256 != general.explanation.prompt_sha256


def test_labels_of_another_domain_are_made_anew_and_those_of_the_general_one_are_those_of_before() -> None:
    found = {domain: fingerprint(ExamplesExplainer, domain) for domain in DOMAINS}
    assert found["auto"] == found["general"], "an auto that nobody decided says nothing of the corpus"
    assert len(set(found.values())) == len(DOMAINS) - 1


def test_a_file_of_one_s_own_is_shown_as_it_stands(journal: Journal, tmp_path: Path) -> None:
    own = tmp_path / "law.txt"
    own.write_text("  All of it is {{ law }}: name the matter.\n", encoding="utf-8")
    before = fingerprint(ExamplesExplainer, str(own))
    assert ask(journal, str(own)).calls[-1].system.endswith("\n\nAll of it is {{ law }}: name the matter.")
    own.write_text("All of it is law: name the court.", encoding="utf-8")
    assert fingerprint(ExamplesExplainer, str(own)) != before


@pytest.mark.parametrize(
    ("domain", "says"),
    [
        ("cod", "there is no domain 'cod': did you mean 'code'?"),
        ("Code", "did you mean 'code'?"),
        ("prose", "it is one of auto, general, code, chat, multilingual, or a text file of yours"),
        ("none.txt", "no readable text file 'none.txt'"),
        ("empty.txt", "holds 0 characters"),
        ("long.txt", "holds 5,000 characters"),
        ("latin.txt", "no readable text file 'latin.txt'"),
        ("nul\0.txt", "no readable text file"),
    ],
)
def test_a_domain_that_is_none_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, domain: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").write_text(" \n")
    Path("long.txt").write_text("a" * 5000)
    Path("latin.txt").write_bytes("naïve".encode("latin-1"))
    with pytest.raises(AutointerpError) as caught:
        read_paragraph(domain)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("nature", "domain"),
    [
        (Nature(100, 0, 0, (("English", 100),)), "general"),
        (Nature(100, 25, 0, (("English", 75),)), "code"),
        (Nature(100, 24, 0, (("English", 76),)), "general"),
        (Nature(100, 0, 50, (("English", 50),)), "chat"),
        (Nature(100, 0, 0, (("English", 80), ("German", 20))), "multilingual"),
        (Nature(100, 0, 0, (("German", 100),)), "general"),
        (Nature(100, 30, 0, (("English", 50), ("German", 20))), "general"),
        (Nature(100, 40, 50, (("English", 10),)), "general"),
        (Nature(100, 2, 0, (("English", 4), ("German", 2))), "general"),
        (Nature(0, 0, 0, ()), "general"),
    ],
)
def test_the_corpus_decides_by_what_most_of_it_is(nature: Nature, domain: str) -> None:
    assert domain_of(nature, read_as_chats=False).name == domain


def test_a_corpus_that_was_read_as_conversations_is_one() -> None:
    assert domain_of(Nature(100, 100, 0, ()), read_as_chats=True).name == "chat"


def test_a_mixture_is_told_with_its_counts() -> None:
    told = domain_of(Nature(100, 30, 0, (("English", 50), ("German", 20))), read_as_chats=False)
    assert told.reason == (
        "a mixture, of 100 texts 30 are code, 0 conversations; languages of others: English 50, German 20"
    )


def test_a_user_s_own_prompt_says_where_it_wants_the_paragraph(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("[system]\nS\n[user]\n{{ domain }}|{{ contexts }}\n", encoding="utf-8")
    code = (
        "from autointerp.explain.explainers.examples import ExamplesExplainer\n"
        "class Own(ExamplesExplainer):\n    name = 'own'\n    prompt = 'own.txt'\n"
    )
    (tmp_path / "own.py").write_text(code, encoding="utf-8")
    from autointerp.explain.registry import load_explainer

    own = load_explainer(f"{tmp_path}/own.py:Own")
    assert issubclass(own, LlmExplainer)
    assert tools(config()).config.domain == "auto"
    assert ask(journal, "code", own).calls[-1].user.startswith(f"{read_paragraph('code')}|1: ")
    assert ask(journal, "code", own).calls[-1].system == "S"
    assert fingerprint(own, "code") != fingerprint(own, "general")
