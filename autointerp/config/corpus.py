"""What a pipeline file says of the text: where it comes from, and how it is cut into blocks."""

from typing import Literal, Self

from pydantic import Field, model_validator

from autointerp.config.frozen import Frozen

_KINDS_OF_KEYS = {
    ("subset", "dataset_split", "revision"): ("huggingface",),
    ("column",): ("text", "jsonl", "parquet", "huggingface"),
    ("chat",): ("jsonl", "parquet", "huggingface", "docstrings"),
    ("token_column", "group_column"): ("jsonl", "parquet", "huggingface"),
}


class CorpusConfig(Frozen):
    """Where the text comes from, and how it is cut into blocks."""

    kind: Literal["docstrings", "text", "jsonl", "parquet", "huggingface"] = Field(
        "docstrings", description="docstrings: of the Python packages on this machine; the others read `path`"
    )
    path: str | None = Field(None, description="file or folder, or the Hugging Face dataset's name")
    column: str | None = Field(
        None, description="of the text; unset: text, or of chats messages, conversations or conversation"
    )
    token_column: str | None = Field(
        None, description="of token ids, where the corpus is tokenized already, by the subject's own tokenizer"
    )
    chat: bool = Field(
        False,
        description="the column holds lists of messages, for the tokenizer's chat template; of docstrings: every "
        "other one is told as a conversation",
    )
    chat_template: str | None = Field(None, description="file with a Jinja template; unset: the tokenizer's own")
    subset: str | None = Field(None, description="configuration name of a Hugging Face dataset")
    dataset_split: str = Field("train", description="split of a Hugging Face dataset")
    revision: str | None = Field(None, description="revision of a Hugging Face dataset")
    groups: Literal["source", "document"] = Field(
        "source",
        description="on one side of the split: all of a source file (or group_column); or a document by itself",
    )
    group_column: str | None = Field(None, description="of what rows belong to; unset: each row is a group of its own")
    n_tokens: int = Field(1_000_000, gt=0, description="stop after the block that reaches this many counted tokens")
    block_length: int = Field(128, ge=8, description="tokens in a block, special tokens included")
    min_block_tokens: int = Field(8, ge=1, description="shorter tails of documents are dropped")
    special_tokens: Literal["tokenizer", "bos", "none"] = Field(
        "tokenizer",
        description="around each block: the tokenizer's own, with BOS as the coder was trained; BOS only; none",
    )
    count_special: bool = Field(False, description="whether special tokens count in statistics and samples")
    blocks_per_shard: int = Field(1024, gt=0, description="blocks in a shard, the unit of work and of resuming")

    @model_validator(mode="after")
    def _path_where_it_is_needed(self) -> Self:
        if (self.kind == "docstrings") != (self.path is None):
            wanted = "takes no `path`" if self.kind == "docstrings" else "needs a `path`"
            raise ValueError(f"corpus.kind = {self.kind!r} {wanted}")
        return self

    @model_validator(mode="after")
    def _keys_of_its_kind(self) -> Self:
        for keys, kinds in _KINDS_OF_KEYS.items():
            odd = [key for key in keys if getattr(self, key) != type(self).model_fields[key].default]
            if odd and self.kind not in kinds:
                raise ValueError(f"corpus.{odd[0]} needs the kind {' or '.join(kinds)}, not {self.kind!r}")
        return self

    @model_validator(mode="after")
    def _keys_that_fit_together(self) -> Self:
        if self.chat_template is not None and not self.chat:
            raise ValueError("corpus.chat_template needs corpus.chat = true")
        if self.token_column is not None and (self.chat or self.column is not None):
            raise ValueError("corpus.token_column takes the place of corpus.column, and excludes corpus.chat")
        if self.group_column is not None and self.groups == "document":
            raise ValueError('corpus.group_column needs corpus.groups = "source", the default')
        return self
