"""Evidence on planted features: the words that follow them in the text, and the words that they promote."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from autointerp.collect.effects import SourceEffects, gather_effects, token_texts
from autointerp.collect.windows import no_rows
from autointerp.config import CoderConfig, CollectConfig, SubjectConfig
from autointerp.corpus.pieces import TokenPieces
from autointerp.records import BlockShard, SampledWindows
from autointerp.subject.coder import Coder, load_coder
from autointerp.subject.logits import ExtremeLogits
from autointerp.subject.model import Subject, load_subject
from tests.run.planted import DEAD, FEATURES, Planted

SETTINGS = CollectConfig()
PIANO = FEATURES.index(("piano",))
TEXTS = [
    "the piano was new",
    "a piano was there",
    "my old piano",
    "piano and ship",
]


@dataclass(frozen=True)
class World:
    """A planted model and coder, and a few texts in one shard of blocks."""

    subject: Subject
    coder: Coder
    shard: BlockShard
    sample: SampledWindows
    texts: tuple[str, ...]

    def gather(self, coder: Coder | None = None, settings: CollectConfig = SETTINGS) -> SourceEffects:
        coders = [coder or self.coder]
        (found,) = gather_effects(self.subject, coders, [self.sample], [self.shard], len(self.texts), settings)
        return found

    def following(self, effects: SourceEffects, feature: int) -> list[tuple[str, int]]:
        """The tokens that follow a feature's sampled peaks, and how many they follow."""
        found = effects.following
        rows = slice(found.offsets[feature], found.offsets[feature + 1])
        texts = (self.texts[token_id] for token_id in found.token_id[rows])
        return list(zip(texts, found.n_peaks[rows].tolist(), strict=True))


@pytest.fixture(scope="module")
def world(planted: Planted) -> World:
    subject = load_subject(SubjectConfig(model=str(planted.model), name="planted", device="cpu"))
    blocks = [subject.tokenizer.encode(text) for text in TEXTS]
    token_ids = np.zeros((len(blocks), max(map(len, blocks))), np.int32)
    n_tokens = np.array([len(block) for block in blocks], np.int32)
    for row, block in enumerate(blocks):
        token_ids[row, : len(block)] = block
    (piano,) = subject.tokenizer.encode("piano")
    sample = replace(
        no_rows(4),
        feature=np.full(len(blocks), PIANO, np.int32),
        block_index=np.arange(len(blocks)),
        peak_position=np.array([block.index(piano) for block in blocks], np.int32),
    )
    return World(
        subject=subject,
        coder=load_coder(CoderConfig(path=str(planted.coder)), torch.device("cpu")),
        shard=BlockShard(
            shard_index=0,
            first_block=0,
            token_ids=token_ids,
            n_tokens=n_tokens,
            counted=np.arange(token_ids.shape[1]) < n_tokens[:, None],
            document_index=np.zeros(len(blocks), np.int32),
            document_ids=("a",),
        ),
        sample=sample,
        texts=token_texts(TokenPieces(subject.tokenizer)),
    )


def test_a_planted_feature_is_followed_by_the_words_of_the_text_and_promotes_its_own(world: World) -> None:
    effects = world.gather()
    # Of three next tokens two are "was", which the texts have twice among all tokens, and one is "and", once.
    assert world.following(effects, PIANO) == [(" was", 2), (" and", 1)]
    assert effects.following.lift == pytest.approx([world.shard.counted.sum() / 3] * 2)
    assert (effects.following.n_sampled[PIANO], effects.following.n_followed[PIANO]) == (4, 3)
    assert (world.following(effects, DEAD), effects.following.n_sampled[DEAD]) == ([], 0)

    assert effects.no_logits is None
    logits = effects.logits
    assert isinstance(logits, ExtremeLogits)
    for index, words in enumerate(FEATURES):
        promoted = {world.texts[token_id].strip() for token_id in logits.top_tokens[index, : len(words)]}
        assert promoted == set(words)
    assert not logits.top_logits[DEAD].any()  # its direction has length 0
    assert not logits.bottom_logits[DEAD].any()
    tops, bottoms = logits.top_logits[PIANO], logits.bottom_logits[PIANO]
    assert len(tops) == len(bottoms) == SETTINGS.n_logits
    assert tops[0] > tops[1] >= tops[-1] > 0 > bottoms[-1] >= bottoms[0]


def test_sources_of_one_subject_are_each_given_their_own(world: World) -> None:
    none = no_rows(4)
    first, second = gather_effects(
        world.subject, [world.coder] * 2, [none, world.sample], [world.shard], len(world.texts), SETTINGS
    )
    assert world.following(first, PIANO) == []
    assert world.following(second, PIANO) == [(" was", 2), (" and", 1)]


@pytest.mark.parametrize(
    ("change", "settings", "reason"),
    [
        (lambda coder: coder, SETTINGS.model_copy(update={"n_logits": 0}), "collect.n_logits is 0"),
        (lambda coder: replace(coder, hook_name="blocks.0.ln2.hook_normalized"), SETTINGS, "ln2.hook_normalized"),
        (lambda coder: replace(coder, architecture="transcoder"), SETTINGS, "does not say at which hook point"),
    ],
)
def test_where_there_are_no_logits_the_reason_is_kept(
    world: World, change: Callable[[Coder], Any], settings: CollectConfig, reason: str
) -> None:
    effects = world.gather(change(world.coder), settings)
    assert effects.no_logits is not None
    assert reason in effects.no_logits


def test_a_transcoder_s_directions_are_projected_from_where_it_writes(world: World) -> None:
    transcoder = replace(
        world.coder,
        architecture="transcoder",
        hook_name="blocks.0.ln2.hook_normalized",
        hook_name_out="blocks.0.hook_mlp_out",
    )
    projected, expected = world.gather(transcoder).logits, world.gather().logits
    assert isinstance(projected, ExtremeLogits)
    assert isinstance(expected, ExtremeLogits)
    assert projected.top_tokens.tolist() == expected.top_tokens.tolist()
    assert projected.top_logits.tolist() == expected.top_logits.tolist()
