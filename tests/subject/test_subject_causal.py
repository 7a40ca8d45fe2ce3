"""Whether a subject has read what comes after a token is told by its config."""

from pathlib import Path

import pytest
from transformers import BertConfig, GPT2Config, LlamaConfig, PreTrainedConfig, T5Config

from autointerp.config import SubjectConfig
from autointerp.subject.model import is_causal


@pytest.mark.parametrize(
    ("config", "is_told"),
    [
        (GPT2Config(), True),
        (LlamaConfig(), True),
        (BertConfig(), False),
        (BertConfig(is_decoder=True), True),
        (T5Config(), False),
    ],
)
def test_a_subject_is_causal_or_not_by_the_kind_of_its_model(
    tmp_path: Path, config: PreTrainedConfig, is_told: bool
) -> None:
    config.save_pretrained(tmp_path)
    assert is_causal(SubjectConfig(model=str(tmp_path))) is is_told


def test_of_a_model_that_is_not_there_nobody_can_tell(tmp_path: Path) -> None:
    assert is_causal(SubjectConfig(model=str(tmp_path / "gone"))) is None
    assert is_causal(SubjectConfig(model="all-minilm-l6-v2")) is False
