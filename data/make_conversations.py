"""Make the conversations that the coder of SmolLM2 is trained on, as JSONL for `corpus.chat`.

    python -m data.make_conversations --out conversations.jsonl --chatterbot FOLDER
    python -m data.make_conversations --out own.jsonl --own-tokens 45000

1. Of documentation: documents of the embedded docstring corpus, from its end (training on documentation reads it from
   its beginning), as answers to questions of many forms; the paragraphs of a long one over several turns.
2. Of small talk: the English dialogues of the package chatterbot-corpus (BSD licence), each once, several in a row.
3. Of the model itself, in a file of their own: what it answers to instructions made of seeds and topics
   (`data/conversation_seeds.toml`), in a batch, with one cache that is as long as it will get; bfloat16.

Those of 1 and 2 are put in an order drawn by `--seed`. The same seed, packages and machine give the same file.
"""

import argparse
import json
import logging
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer, StaticCache

from autointerp.config import CorpusConfig
from autointerp.corpus import iter_documents
from autointerp.corpus.sources.chat import Message
from autointerp.corpus.sources.questions import ask_about, assistant, read_seeds, system_message, user
from autointerp.subject.packaged import packaged_folder

logger = logging.getLogger("make_conversations")

MODEL = "packaged:smollm2-135m-instruct"
HERE = Path(__file__).parent
DIALOGUES_IN_A_ROW = 3
NEW_TOKENS = 128
TEMPERATURE = 0.8
TOP_K = 50

Conversation = list[Message]


def main() -> None:
    """Make and write them."""
    parser = argparse.ArgumentParser(description="Make the conversations that SmolLM2's coder is trained on.")
    parser.add_argument("--out", type=Path, required=True, help="JSONL file to write")
    parser.add_argument("--chatterbot", type=Path, help="data/english of the package chatterbot-corpus, unpacked")
    parser.add_argument("--documents", type=int, default=6500, help="documents, from the corpus's end, to talk about")
    parser.add_argument("--own-tokens", type=int, default=0, help="write the model's own answers, of so many tokens")
    parser.add_argument("--batch", type=int, default=64, help="answers that it writes at once")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    draw = random.Random(arguments.seed)

    if arguments.own_tokens:
        made = own_answers(arguments.own_tokens, arguments.batch, draw)
    else:
        documents = list(iter_documents(CorpusConfig()))[-arguments.documents :]
        made = [ask_about(document, draw) for document in documents]
        logger.info("%d of documentation", len(made))
        if arguments.chatterbot is not None:
            made += small_talk(arguments.chatterbot, draw)
        draw.shuffle(made)
    logger.info("%d conversations", len(made))
    with arguments.out.open("w", encoding="utf-8") as file:
        for messages in made:
            file.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")


def small_talk(folder: Path, draw: random.Random) -> list[Conversation]:
    """Dialogues of chatterbot-corpus, each once."""
    dialogues: dict[tuple[str, ...], None] = {}
    for path in sorted(folder.glob("*.yml")):
        for turns in yaml.safe_load(path.read_text(encoding="utf-8"))["conversations"]:
            if len(turns) > 1:
                dialogues[tuple(str(turn) for turn in turns)] = None
    shuffled = list(dialogues)
    draw.shuffle(shuffled)
    made = []
    for start in range(0, len(shuffled), DIALOGUES_IN_A_ROW):
        messages = system_message(draw)
        for turns in shuffled[start : start + DIALOGUES_IN_A_ROW]:
            for asked, answer in zip(turns[::2], turns[1::2], strict=False):
                messages += [user(asked), assistant(answer)]
        made.append(messages)
    return made


def own_answers(n_tokens: int, batch: int, draw: random.Random) -> list[Conversation]:
    """What the model answers to instructions, sampled, until it has written `n_tokens`."""
    folder = packaged_folder(MODEL)
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    torch.manual_seed(draw.randrange(2**31))
    asked = _instructions(draw)
    made: list[Conversation] = []
    n_written = 0
    while n_written < n_tokens:
        conversations = [[*system_message(draw), user(next(asked))] for _ in range(batch)]
        answers, n_new = _write(model, tokenizer, conversations)
        n_written += n_new
        made += [[*said, assistant(answer)] for said, answer in zip(conversations, answers, strict=True) if answer]
        logger.info("%d tokens of the model's own", n_written)
    return made


def _instructions(draw: random.Random) -> Iterator[str]:
    plain = (HERE / "steering" / "instructions.txt").read_text(encoding="utf-8").splitlines()
    seeds = read_seeds()
    made = [form.format(topic=topic) for form in seeds["instructions"] for topic in seeds["topics"]]
    draw.shuffle(made)
    yield from [line for line in plain if line]
    yield from made


@torch.inference_mode()
def _write(model: Any, tokenizer: Any, conversations: Sequence[Conversation]) -> tuple[list[str], int]:
    """Answers of one batch, and how many tokens they have."""
    prompts = tokenizer.apply_chat_template(
        list(conversations), add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
    )
    length = prompts["input_ids"].shape[1]
    cache = StaticCache(config=model.config, max_cache_len=length + NEW_TOKENS)
    written = model.generate(
        **prompts, past_key_values=cache, max_new_tokens=NEW_TOKENS, do_sample=True, temperature=TEMPERATURE,
        top_k=TOP_K, pad_token_id=tokenizer.eos_token_id, disable_compile=True,
    )[:, length:]  # fmt: skip
    n_new = int((written != tokenizer.eos_token_id).sum())
    return [answer.strip() for answer in tokenizer.batch_decode(written, skip_special_tokens=True)], n_new


if __name__ == "__main__":
    main()
