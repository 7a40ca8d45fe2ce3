"""Models of other kinds in this process: whatever their positions and their memory, a batch changes no answer."""

from pathlib import Path
from typing import Any

import pytest

from autointerp.llm import Reply
from tests.llm.local_asking import ask, chances, chances_by_hand, choice, local
from tests.llm.tiny_chat import save_tiny_chat

LENGTHS = (1, 30, 4, 80)


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("gpt2", {"n_positions": 512}),
        ("qwen3", {}),
        ("bloom", {}),
        ("gpt_neox", {}),
        ("mistral", {"sliding_window": 24}),
        ("gemma2", {"sliding_window": 24, "query_pre_attn_scalar": 16}),
        ("gemma3_text", {"sliding_window": 24, "query_pre_attn_scalar": 16}),
        ("mamba", {"state_size": 4}),
    ],
)
def test_questions_are_answered_together_as_alone(tmp_path: Path, family: str, settings: dict[str, Any]) -> None:
    model = save_tiny_chat(tmp_path / "model", family=family, **settings)
    asked = [choice("x" * n) for n in LENGTHS]
    together = ask(local(model), tmp_path / "together.sqlite", *asked)
    alone = [ask(local(model), tmp_path / f"{n}.sqlite", request)[0] for n, request in enumerate(asked)]
    for one, other in zip(together, alone, strict=True):
        assert chances(one) == pytest.approx(chances(other), abs=1e-4)


def test_why_a_model_is_asked_one_question_at_a_time_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = save_tiny_chat(tmp_path / "model", family="mamba", state_size=4)
    ask(local(model), tmp_path / "journal.sqlite", choice("Is it?"))
    (told,) = [line for line in caplog.messages if line.endswith(": it is asked one question at a time")]
    assert told.startswith(f"{model} can't be asked in a batch (AttributeError: ")


def test_a_question_longer_than_a_sliding_window_is_read_as_the_model_reads_it_whole(tmp_path: Path) -> None:
    model = save_tiny_chat(tmp_path / "model", family="mistral", sliding_window=24)
    long = "x" * 90
    first, again = (ask(local(model), tmp_path / f"{n}.sqlite", choice(long))[0] for n in range(2))
    assert isinstance(again, Reply)
    assert again.usage.cached_input_tokens > 24, "it is read behind a kept beginning"
    whole = chances_by_hand(model, long)
    assert chances(first) == pytest.approx(whole, abs=1e-4)
    assert chances(again) == pytest.approx(whole, abs=1e-4)
