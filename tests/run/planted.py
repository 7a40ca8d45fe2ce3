"""A model, a coder and a corpus whose features are known: each fires on words that we chose.

The model is a small GPT-2 with random token embeddings; the coder reads them where they enter, and each of its features
points along the embeddings of its words. Positions carry a strength along one direction of their own, so that
activations differ from place to place. The words of a feature are the truth about it.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from sae_lens import StandardSAE
    from transformers import PreTrainedTokenizerFast

COLOURS = ("red", "green", "blue")
FEATURES: tuple[tuple[str, ...], ...] = (
    ("ship",),
    ("river",),
    COLOURS,
    (),  # dead
    ("the",),  # in every block
    ("quasar",),  # too rare
    ("bread",),
    ("piano",),
    ("window",),
    ("tiger",),
    ("candle",),
    ("forest",),
)
DEAD, EVERYWHERE, RARE = 3, 4, 5
LABELLED = tuple(index for index in range(len(FEATURES)) if index not in {DEAD, RARE})
_FILLERS = (
    "and of to in a is was it for on with as at by from that this they she he we you all not but had were when out "
    "said up no more some could them then its about so into only other new two may first any my now such like our "
    "over man me even most made after also did many before must through back years where much your way well down"
)
# Those of a second coder, at another hook point: the same words in another order, fewer of them.
FEATURES_2: tuple[tuple[str, ...], ...] = tuple(reversed(FEATURES[:9]))
# Its markers are words, so that a conversation takes few of the model's positions.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ 'we' if message['role'] == 'assistant' else 'they' if message['role'] == 'system' "
    "else 'you' }} said {{ message['content'] }} {% endfor %}{% if add_generation_prompt %}we said{% endif %}"
)
_WIDTH = 128
_N_POSITIONS = 64


@dataclass(frozen=True, slots=True)
class Planted:
    """A folder with the parts."""

    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / "model"

    @property
    def coder(self) -> Path:
        return self.folder / "coder"

    @property
    def coder_2(self) -> Path:
        return self.folder / "coder-2"

    @property
    def corpus(self) -> Path:
        return self.folder / "corpus.jsonl"

    def toml(self, name: str, runs: Path, *more: str, coders: Sequence[str] | None = None) -> str:
        """A pipeline over the parts, for quick runs; `coders` are the lines of other tables of coders than the one."""
        return "\n".join(
            [
                f'name = "{name}"',
                f'runs = "{runs}"',
                "[corpus]",
                'kind = "jsonl"',
                f'path = "{self.corpus}"',
                "n_tokens = 1_000_000",
                "block_length = 64",
                'special_tokens = "none"',
                "blocks_per_shard = 128",
                "[subject]",
                f'model = "{self.model}"',
                'name = "planted"',
                *(("[coder]", f'path = "{self.coder}"') if coders is None else coders),
                "[collect]",
                "n_pool_blocks = 256",
                "context_length = 16",
                *more,
            ]
        )


def plant(folder: Path) -> Planted:
    """Make and save model, coder and corpus."""
    import torch
    from transformers import GPT2Config, GPT2Model

    texts = _texts()
    tokenizer = _tokenizer(texts)
    torch.manual_seed(0)
    model = GPT2Model(
        GPT2Config(vocab_size=len(tokenizer), n_positions=_N_POSITIONS, n_embd=_WIDTH, n_layer=2, n_head=2)
    )
    strength = torch.nn.functional.normalize(torch.randn(_WIDTH), dim=0)
    with torch.no_grad():
        embeddings = torch.nn.functional.normalize(torch.randn(len(tokenizer), _WIDTH), dim=1)
        embeddings -= (embeddings @ strength)[:, None] * strength
        embeddings /= embeddings.norm(dim=1, keepdim=True)
        model.wte.weight.copy_(embeddings)
        model.wpe.weight.copy_((torch.rand(_N_POSITIONS) - 0.5)[:, None] * strength)
    planted = Planted(folder)
    model.save_pretrained(planted.model)
    tokenizer.save_pretrained(planted.model)
    _coder(tokenizer, FEATURES, embeddings, strength, "blocks.0.hook_resid_pre").save_model(planted.coder)
    # One that reads before positions are added.
    _coder(tokenizer, FEATURES_2, embeddings, strength, "hook_embed").save_model(planted.coder_2)
    planted.corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return planted


def _texts() -> list[str]:
    draw = random.Random(0)
    fillers = _FILLERS.split()
    words = [word for feature in FEATURES for word in feature if word not in {"the", "quasar"}]
    texts = []
    for number in range(360):
        chosen = draw.sample(words, 3)
        text = [draw.choice(fillers) for _ in range(55)]
        for place in draw.sample(range(55), 6):
            text[place] = draw.choice(chosen)
        text[draw.randrange(55)] = "the"
        if number % 120 == 0:
            text[draw.randrange(55)] = "quasar"
        texts.append(" ".join(text))
    return texts


def _tokenizer(texts: list[str]) -> "PreTrainedTokenizerFast":
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=CHAT_TEMPLATE)


def _coder(
    tokenizer: "PreTrainedTokenizerFast",
    features: Sequence[tuple[str, ...]],
    embeddings: "torch.Tensor",
    strength: "torch.Tensor",
    hook_name: str,
) -> "StandardSAE":
    import torch
    from sae_lens import StandardSAE, StandardSAEConfig

    sae = StandardSAE(StandardSAEConfig(d_in=_WIDTH, d_sae=len(features), apply_b_dec_to_input=False))
    directions = torch.zeros(len(features), _WIDTH)
    for index, words in enumerate(features):
        for word in words:
            (token_id,) = tokenizer.encode(word)
            directions[index] += embeddings[token_id]
        if words:
            directions[index] += 0.3 * strength
    with torch.no_grad():
        sae.W_enc.copy_(directions.T)
        sae.b_enc.fill_(-0.55)
        sae.W_dec.copy_(directions)
        sae.b_dec.zero_()
    sae.cfg.metadata.hook_name = hook_name
    sae.cfg.metadata.model_name = "planted"
    return sae
