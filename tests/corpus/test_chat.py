"""Conversations in every shape that datasets have, through templates that take them and templates that refuse."""

import json
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.config import CorpusConfig
from autointerp.corpus import DocumentCounts, cut_shards, iter_documents
from autointerp.corpus.counts import Unfit
from autointerp.corpus.sources.chat import ChatTemplate, read_messages
from autointerp.errors import CorpusError
from autointerp.records import Document
from tests.corpus.small_tokenizers import CHATML, bytelevel_tokenizer, chatml_tokenizer, llama_like

USER = {"role": "user", "content": "Wie geht's?"}
ASSISTANT = {"role": "assistant", "content": "Gut. お元気ですか"}
RENDERED = "<|im_start|>user\nWie geht's?<|im_end|>\n<|im_start|>assistant\nGut. お元気ですか<|im_end|>\n"
# As Mistral and Gemma do: BOS written by the template, and turns that must alternate.
STRICT = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}"
    "{% endif %}[{{ message['role'] }}] {{ message['content'] + eos_token }}{% endfor %}"
)
SHAREGPT = [{"from": "human", "value": "Wie geht's?"}, {"from": "gpt", "value": "Gut. お元気ですか"}]


def chat(kind: str, path: Path, **settings: Any) -> CorpusConfig:
    return CorpusConfig.model_validate({"kind": kind, "path": str(path), "chat": True, **settings})


def write_rows(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def render(value: object, tokenizer: Any = None, **settings: Any) -> str | Unfit:
    return ChatTemplate(
        tokenizer or chatml_tokenizer(), chat("jsonl", Path("a.jsonl"), **settings).chat_template
    ).render(value)


SHAPES = {
    "openai": [USER, ASSISTANT],
    "sharegpt": SHAREGPT,
    "nested": {"id": "7", "messages": [USER, ASSISTANT]},
    "nested sharegpt": {"conversations": SHAREGPT},
    "JSON text": json.dumps([USER, ASSISTANT]),
    "a table of lists": {"role": ["user", "assistant"], "content": [USER["content"], ASSISTANT["content"]]},
    "parts": [
        {"role": "user", "content": [{"type": "text", "text": "Wie "}, {"type": "text", "text": "geht's?"}]},
        {**ASSISTANT, "name": None, "tool_calls": None},
    ],
    "parts that are plain text": [{"role": "User", "content": ["Wie ", "geht's?"]}, {**ASSISTANT, "role": "model"}],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_a_conversation_renders_alike(shape: str) -> None:
    assert render(SHAPES[shape]) == RENDERED


def test_blocks_hold_the_tokens_of_apply_chat_template_and_its_special_tokens_do_not_count(tmp_path: Path) -> None:
    tokenizer = chatml_tokenizer()
    config = chat("jsonl", write_rows(tmp_path / "a.jsonl", [{"messages": [USER, ASSISTANT]}]), block_length=128)
    documents = list(iter_documents(config, tokenizer))
    assert documents == [Document("a.jsonl#1", RENDERED)]
    (shard,) = cut_shards(documents, tokenizer, config)
    n = int(shard.n_tokens[0])
    expected = tokenizer.apply_chat_template([USER, ASSISTANT], return_dict=False)
    assert shard.token_ids[0, :n].tolist() == expected
    marks = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    assert shard.counted[0, :n].tolist() == [token_id not in marks for token_id in expected]
    assert (~shard.counted[0, :n]).sum() == 4
    (counting,) = cut_shards(documents, tokenizer, config.model_copy(update={"count_special": True}))
    assert counting.counted[0, :n].all()


@pytest.mark.parametrize("prepend_bos", [None, True])
def test_bos_is_not_doubled_where_the_template_writes_it(tmp_path: Path, prepend_bos: bool | None) -> None:
    tokenizer = llama_like()
    tokenizer.chat_template = STRICT
    config = chat("jsonl", write_rows(tmp_path / "a.jsonl", [{"messages": [USER, ASSISTANT]}]), block_length=24)
    (shard,) = cut_shards(iter_documents(config, tokenizer), tokenizer, config, prepend_bos=prepend_bos)
    assert len(shard.token_ids) > 2
    assert (shard.token_ids == tokenizer.bos_token_id).sum(axis=1).tolist() == [1] * len(shard.token_ids)
    assert (shard.token_ids[:, 0] == tokenizer.bos_token_id).all()


def test_a_coder_trained_without_bos_leaves_the_bos_of_the_template_where_it_is(tmp_path: Path) -> None:
    tokenizer = llama_like()
    tokenizer.chat_template = STRICT
    config = chat("jsonl", write_rows(tmp_path / "a.jsonl", [{"messages": [USER, ASSISTANT]}]), block_length=24)
    (shard,) = cut_shards(iter_documents(config, tokenizer), tokenizer, config, prepend_bos=False)
    assert places(shard.token_ids == tokenizer.bos_token_id) == [(0, 0)]


def places(mask: Any) -> list[tuple[int, int]]:
    return [(int(row), int(position)) for row, position in zip(*mask.nonzero(), strict=True)]


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "huggingface"])
@pytest.mark.parametrize("column", ["messages", "conversations", "turns"])
def test_conversations_are_found_in_their_usual_columns_or_the_one_that_is_named(
    tmp_path: Path, kind: str, column: str
) -> None:
    values = [[USER, ASSISTANT], None, [ASSISTANT]]
    if kind == "jsonl":
        write_rows(tmp_path / "a.jsonl", [{"id": 1, column: value} for value in values])
    else:
        pq.write_table(pa.table({"id": [1, 2, 3], column: values}), tmp_path / "a.parquet")
    counts = DocumentCounts()
    config = chat(kind, tmp_path, **({"column": column} if column == "turns" else {}))
    documents = list(iter_documents(config, chatml_tokenizer(), counts=counts))
    assert [document.text for document in documents] == [RENDERED, RENDERED[RENDERED.index("<|im_start|>assistant") :]]
    assert [(rejection.reason, rejection.n_documents) for rejection in counts.rejections] == [("empty", 1)]


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "huggingface"])
def test_a_missing_column_is_one_line_that_lists_those_there_are(tmp_path: Path, kind: str) -> None:
    if kind == "parquet":
        pq.write_table(pa.table({"id": [1], "dialogue": [[USER]]}), tmp_path / "a.parquet")
    else:
        write_rows(tmp_path / "a.jsonl", [{"id": 1, "dialogue": [USER]}])
    with pytest.raises(
        CorpusError,
        match=r"has no 'messages' or 'conversations' or 'conversation': set corpus\.column to one of id, dialogue$",
    ):
        list(iter_documents(chat(kind, tmp_path), chatml_tokenizer()))


BAD: dict[str, tuple[Any, str]] = {
    "empty list": ([], "empty"),
    "null": (None, "empty"),
    "no text in any": ([{"role": "user", "content": " "}, {"role": "assistant", "content": ""}], "empty"),
    "plain text": ("Wie geht's?", "not a conversation"),
    "broken JSON text": ("[{", "not a conversation"),
    "a number": (7, "not a conversation"),
    "a list of texts": (["Wie geht's?"], "not a conversation"),
    "a table without messages": ({"id": 1}, "not a conversation"),
    "lists of unequal length": ({"role": ["user"], "content": []}, "not a conversation"),
    "no role": ([{"content": "Wie geht's?"}], "a message without a role"),
    "a role that is a number": ([{"role": 1, "content": "Wie geht's?"}], "a message without a role"),
    "no content": ([{"role": "user"}], "a message without text"),
    "content that is a number": ([{"role": "user", "content": 7}], "a message without text"),
    "an image": (
        [{"role": "user", "content": [{"type": "text", "text": "See"}, {"type": "image_url", "image_url": "x"}]}],
        "content that is not text",
    ),
    "a part that is a number": ([{"role": "user", "content": [7]}], "content that is not text"),
    "refused roles": ([ASSISTANT, USER], "refused by the chat template"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_left_out_with_its_reason(tmp_path: Path, case: str) -> None:
    value, reason = BAD[case]
    tokenizer = bytelevel_tokenizer(bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = STRICT
    counts = DocumentCounts()
    rows = [{"messages": value}, {"messages": [USER, ASSISTANT]}, {"messages": value}, {"other": 1}]
    config = chat("jsonl", write_rows(tmp_path / "a.jsonl", rows))
    assert [document.document_id for document in iter_documents(config, tokenizer, counts=counts)] == ["a.jsonl#2"]
    found = {rejection.reason: rejection for rejection in counts.rejections}
    assert {name: rejection.n_documents for name, rejection in found.items()} == {reason: 2, "no such column": 1}
    assert found[reason].example.startswith("a.jsonl#1 ")
    assert "\n" not in found[reason].example


def test_where_every_row_is_bad_one_line_says_what_the_first_has_and_what_to_do(tmp_path: Path) -> None:
    tokenizer = bytelevel_tokenizer(bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = STRICT
    rows = [{"messages": []}, {"messages": [ASSISTANT]}, {"messages": [ASSISTANT, USER]}]
    config = chat("jsonl", write_rows(tmp_path / "a.jsonl", rows))
    with pytest.raises(
        CorpusError,
        match=r"none of 3 rows can be used \(a\.jsonl#2 is refused by the chat template \(Roles must alternate\)\): "
        r"set corpus\.chat_template",
    ):
        list(iter_documents(config, tokenizer))


def test_text_where_conversations_should_be_says_how_to_read_it(tmp_path: Path) -> None:
    config = chat("jsonl", write_rows(tmp_path / "a.jsonl", [{"text": "one"}]), column="text")
    with pytest.raises(CorpusError, match=r"a\.jsonl#1 is text, not a list of messages.*corpus\.chat = false"):
        list(iter_documents(config, chatml_tokenizer()))


@pytest.mark.parametrize("shape", ["openai", "sharegpt", "nested", "parts"])
def test_conversations_where_text_should_be_says_how_to_read_them(tmp_path: Path, shape: str) -> None:
    path = write_rows(tmp_path / "a.jsonl", [{"messages": SHAPES[shape]}])
    config = CorpusConfig(kind="jsonl", path=str(path), column="messages")
    with pytest.raises(CorpusError, match=r"is a list of messages, not text\): set corpus\.chat = true"):
        list(iter_documents(config))


def test_a_tokenizer_without_a_template_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    config = chat("jsonl", write_rows(tmp_path / "a.jsonl", [{"messages": [USER]}]))
    with pytest.raises(CorpusError, match=r"has no chat template: set corpus\.chat_template to a Jinja file"):
        list(iter_documents(config, bytelevel_tokenizer()))


def test_several_templates_without_a_default_one_are_named() -> None:
    tokenizer = chatml_tokenizer()
    tokenizer.chat_template = {"rag": CHATML, "tool_use": CHATML}
    with pytest.raises(CorpusError, match=r"several chat templates \(rag, tool_use\) and no default"):
        render([USER], tokenizer)
    tokenizer.chat_template = {"default": CHATML, "tool_use": "x"}
    assert render([USER, ASSISTANT], tokenizer) == RENDERED


def test_a_template_file_goes_before_the_tokenizers_own(tmp_path: Path) -> None:
    (tmp_path / "chat.jinja").write_text("{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}")
    assert render([USER], chat_template=str(tmp_path / "chat.jinja")) == "user: Wie geht's?"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, r"chat\.jinja can't be read \(No such file or directory\): correct corpus\.chat_template"),
        (b"\xff", r"chat\.jinja can't be read \(it is not UTF-8 text\)"),
        (b"{% for m in messages %}", r"no valid Jinja \(line 1: .*\): mend it"),
        (b"{{ messages | no_such_filter }}", r"no valid Jinja"),
    ],
)
def test_a_template_file_that_is_missing_or_broken_is_one_clear_line(
    tmp_path: Path, content: bytes | None, problem: str
) -> None:
    if content is not None:
        (tmp_path / "chat.jinja").write_bytes(content)
    with pytest.raises(CorpusError, match=problem) as raised:
        render([USER], chat_template=str(tmp_path / "chat.jinja"))
    assert "\n" not in str(raised.value)


def test_a_template_that_writes_todays_date_writes_a_fixed_one() -> None:
    template = (
        "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }} {{ strftime_now(\"%Y-%m-%d\") }}{% endif %}"
    )
    assert render([USER], chatml_tokenizer(template)) == "26 Jul 2024 2024-07-26"


def test_tool_calls_reach_the_template_though_their_message_has_no_text() -> None:
    template = "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls %}<{{ c.name }}>{% endfor %}{% endfor %}"
    call = {"role": "assistant", "content": None, "tool_calls": [{"name": "look_up"}]}
    assert render([USER, call], chatml_tokenizer(template)) == "Wie geht's?<look_up>"


def test_a_conversation_of_which_the_template_writes_nothing_is_empty() -> None:
    template = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}"
    assert render([ASSISTANT], chatml_tokenizer(template)) == Unfit.empty()


def test_chat_is_refused_for_text_files() -> None:
    with pytest.raises(ValueError, match=r"corpus\.chat needs the kind jsonl or parquet or huggingface or docstrings"):
        CorpusConfig.model_validate({"kind": "text", "chat": True, "path": "a"})


def test_every_other_documentation_is_the_answer_to_a_question() -> None:
    plain = list(islice(iter_documents(CorpusConfig()), 40))
    mixed = list(islice(iter_documents(CorpusConfig(chat=True), chatml_tokenizer()), 40))
    assert [of.document_id for of in mixed] == [of.document_id for of in plain]
    assert [of.group_id for of in mixed] == [of.group_id for of in plain]
    assert mixed[::2] == plain[::2]
    for told, document in zip(mixed[1::2], plain[1::2], strict=True):
        first_turn, _, answers = told.text.partition("<|im_start|>assistant\n")
        assert "<|im_start|>user\n" in first_turn
        assert all(line.strip() in answers for line in document.text.split("\n"))
    asked = {told.text.partition("<|im_start|>user\n")[2].partition("<|im_end|>")[0] for told in mixed[1::2]}
    assert len(asked) == 20, "each asks about its own"
    again = list(islice(iter_documents(CorpusConfig(chat=True), chatml_tokenizer()), 40))
    assert again == mixed


def test_a_template_without_chat_is_refused() -> None:
    with pytest.raises(ValueError, match=r"corpus\.chat_template needs corpus\.chat = true"):
        CorpusConfig(kind="jsonl", path="a.jsonl", chat_template="chat.jinja")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "from", "value", "messages", "conversations", "type", "text"]), inner
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_json_value_is_either_messages_or_unfit_for_a_reason(value: object) -> None:
    messages = read_messages(value)
    if isinstance(messages, Unfit):
        assert messages.reason
        assert messages.detail
        assert messages.remedy
    else:
        assert all(isinstance(message["role"], str) and isinstance(message["content"], str) for message in messages)
        assert render(value)
