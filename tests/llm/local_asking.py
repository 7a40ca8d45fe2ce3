"""Asking a tiny language model in this process through the whole layer."""

import asyncio
from pathlib import Path
from typing import Any, Literal

from autointerp.config import ModelConfig
from autointerp.llm import CallFailure, Journal, Reply, Request, connect
from autointerp.llm.protocol import AnswerModel, AnswerT

SYSTEM = "You say what texts have in common. Answer in JSON."


class Choice(AnswerModel):
    """A question that can be answered by yes or no."""

    answer: Literal["yes", "no"]


def local(model: str, **settings: Any) -> ModelConfig:
    return ModelConfig(**{"provider": "local", "model": model, "device": "cpu", **settings})


def ask(config: ModelConfig, journal: Path, *requests: Request[AnswerT]) -> list[Reply[AnswerT] | CallFailure]:
    """The outcomes of requests that are made at the same time."""

    async def run() -> list[Reply[AnswerT] | CallFailure]:
        with Journal(journal) as paid:
            async with connect(config, paid) as model:
                return list(await asyncio.gather(*(model.ask(request) for request in requests)))

    return asyncio.run(run())


def choice(user: str, **settings: Any) -> Request[Choice]:
    base = {"system": SYSTEM, "user": user, "answer": Choice, "max_output_tokens": 40, "wants_chances": True}
    return Request(**{**base, **settings})


def chances(outcome: Reply[Choice] | CallFailure) -> dict[str, float]:
    """Of yes and no, where the answer had a choice."""
    assert isinstance(outcome, Reply), outcome
    (place,) = (token for token in outcome.tokens if token.chances)
    return {word: sum(p for text, p in place.chances if word.startswith(text)) for word in ("yes", "no")}


def texts(outcomes: list[Reply[AnswerT] | CallFailure]) -> list[str]:
    """Of answers, none of which may be missing."""
    return [outcome.text if isinstance(outcome, Reply) else str(outcome) for outcome in outcomes]


def chances_by_hand(model: str, user: str) -> dict[str, float]:
    """What the model itself gives of yes and no, read whole, where an answer of `choice` has its choice."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    turns = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": user}]
    said = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True) + '{"answer": "'
    with torch.no_grad():
        read = tokenizer(said, return_tensors="pt", add_special_tokens=False)
        logits = AutoModelForCausalLM.from_pretrained(model)(**read).logits[0, -1]
    ids = [tokenizer.convert_tokens_to_ids(text) for text in ("yes", "y", "no", "n")]
    yes, y, no, n = torch.softmax(logits[ids], 0).tolist()
    return {"yes": yes + y, "no": no + n}
