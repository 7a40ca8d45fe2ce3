"""The prompt of a conversation's next answer."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from transformers import ByT5Tokenizer

from autointerp.errors import GenerationError, SubjectError
from autointerp.live.chat_prompt import read_prompt, with_system
from autointerp.live.subject import LiveSubject
from tests.corpus.small_tokenizers import CHATML, chatml_tokenizer, llama_like
from tests.live.test_live_conversations import BOS_FIRST, TALK, make_live

__all__ = ["make_live"]
ANSWERED = CHATML + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
REFUSING = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + ANSWERED
SILENT = ANSWERED.replace("<|im_start|>{{", "{% if message.role == 'system' %}{% continue %}{% endif %}<|im_start|>{{")


def text_of(live: LiveSubject, token_ids: tuple[int, ...]) -> str:
    return "".join(live.pieces.pieces(token_ids))


def test_a_prompt_is_what_the_chat_template_gives(make_live: Callable[..., LiveSubject]) -> None:
    tokenizer = chatml_tokenizer(ANSWERED)
    prompt = read_prompt(make_live(tokenizer), TALK)
    expected = tokenizer.apply_chat_template(TALK, add_generation_prompt=True, tokenize=True, return_dict=False)
    assert list(prompt.token_ids) == expected
    assert prompt.notes == ()
    assert prompt.roles is not None
    assert len(prompt.roles) == len(expected)
    assert {role for role in prompt.roles if role} == {"system", "user", "assistant"}


def test_what_stands_before_every_text_stands_before_a_prompt_once(make_live: Callable[..., LiveSubject]) -> None:
    for template in (BOS_FIRST, BOS_FIRST.removeprefix("{{ bos_token }}")):
        tokenizer = llama_like()
        tokenizer.chat_template = template
        prompt = read_prompt(make_live(tokenizer), TALK)
        assert prompt.token_ids.count(tokenizer.bos_token_id) == 1
        assert prompt.token_ids[0] == tokenizer.bos_token_id
        assert prompt.roles is not None
        assert len(prompt.roles) == len(prompt.token_ids)
        said = [token for token, role in zip(prompt.token_ids, prompt.roles, strict=True) if role == "system"]
        assert tokenizer.decode(said) == TALK[0]["content"]


@pytest.mark.parametrize("template", [REFUSING, SILENT])
def test_a_system_message_that_a_template_does_not_take_is_the_user_s(
    make_live: Callable[..., LiveSubject], template: str
) -> None:
    live = make_live(chatml_tokenizer(template))
    prompt = read_prompt(live, TALK)
    assert text_of(live, prompt.token_ids).startswith(f"<|im_start|>user\nBe brief.\n\n{TALK[1]['content']}<|im_end|>")
    assert prompt.roles is not None
    assert "system" not in prompt.roles
    (note,) = prompt.notes
    assert note.startswith("the chat template takes no system message")
    assert read_prompt(live, TALK[1:]).notes == ()


def test_a_template_that_refuses_the_rest_as_well_is_told(make_live: Callable[..., LiveSubject]) -> None:
    live = make_live(chatml_tokenizer("{{ raise_exception('never') }}"))
    for talk in (TALK, TALK[:1]):
        with pytest.raises(SubjectError, match=r"refused by the chat template \(never\)"):
            read_prompt(live, talk)


def test_of_a_tokenizer_that_tells_no_places_roles_are_unknown(make_live: Callable[..., LiveSubject]) -> None:
    live = make_live(chatml_tokenizer(ANSWERED))
    slow = ByT5Tokenizer(chat_template="{% for m in messages %}{{ m.content }}{% endfor %}")
    subject = replace(live.sources.subject, tokenizer=slow)
    sources = replace(live.sources, subject=subject)
    prompt = read_prompt(replace(live, sources=sources), [{"role": "user", "content": "abc"}])
    assert (len(prompt.token_ids), prompt.roles) == (3, None)


def test_no_message_is_told(make_live: Callable[..., LiveSubject]) -> None:
    live = make_live(chatml_tokenizer(ANSWERED))
    empty: Any
    for empty in ([], [{"role": "user", "content": " "}]):
        with pytest.raises(GenerationError, match="the conversation is empty"):
            read_prompt(live, empty)


def test_a_system_prompt_stands_first_where_there_is_none() -> None:
    assert with_system(TALK, "Be long.") == TALK
    assert with_system(TALK[1:], "Be long.")[0] == {"role": "system", "content": "Be long."}
    assert with_system(TALK[1:], None) == TALK[1:]
