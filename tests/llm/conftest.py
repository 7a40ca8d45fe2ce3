"""Keys in the environment, a journal, and a way to ask."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from autointerp.llm import Journal
from tests.llm.asking import KEY, Asker
from tests.llm.tiny_chat import save_tiny_chat
from tests.loopback.server import Provider
from tests.making import make_once


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield journal


@pytest.fixture
def asker(journal: Journal) -> Asker:
    return Asker(journal)


@pytest.fixture(params=["openai", "anthropic"])
def provider(request: pytest.FixtureRequest) -> Provider:
    chosen: Provider = request.param
    return chosen


@pytest.fixture(scope="session")
def tiny_chat(shared_folder: Path) -> str:
    """The folder of a tiny language model that can be asked in this process."""
    return str(make_once(shared_folder / "tiny-chat", save_tiny_chat))
