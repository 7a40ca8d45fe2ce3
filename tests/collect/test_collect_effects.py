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
        (found,) = gather_effects(
            self.subject, [coder or self.coder], [self.sample], [self.shard], self.texts, settings
        )
        return found


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
        texts=token_texts(TokenPieces(subject.tokenizer), len(subject.tokenizer)),
    )


def test_a_planted_feature_is_followed_by_the_words_of_the_text_and_promotes_its_own(world: World) -> None:
    evidence = world.gather()
    # Of three next tokens two are "was", which the texts have twice among all tokens, and one is "and", once.
    following = evidence.following_tokens(PIANO)
    assert [(token.token, token.n_peaks) for token in following] == [(" was", 2), (" and", 1)]
    assert [token.lift for token in following] == pytest.approx([world.shard.counted.sum() / 3] * 2)
    assert (evidence.n_sampled_peaks(PIANO), evidence.n_followed_peaks(PIANO)) == (4, 3)
    assert (evidence.following_tokens(DEAD), evidence.n_sampled_peaks(DEAD)) == ((), 0)

    assert evidence.no_logits is None
    for index, words in enumerate(FEATURES):
        promoted = {token.token.strip() for token in evidence.top_logits(index)[: len(words)]}
        assert promoted == set(words)
    assert (evidence.top_logits(DEAD), evidence.bottom_logits(DEAD)) == ((), ())  # its direction has length 0
    tops, bottoms = evidence.top_logits(PIANO), evidence.bottom_logits(PIANO)
    assert len(tops) == len(bottoms) == SETTINGS.n_logits
    assert tops[0].logit > tops[1].logit >= tops[-1].logit > 0 > bottoms[-1].logit >= bottoms[0].logit


def test_sources_of_one_subject_are_each_given_their_own(world: World) -> None:
    none = no_rows(4)
    first, second = gather_effects(
        world.subject, [world.coder] * 2, [none, world.sample], [world.shard], world.texts, SETTINGS
    )
    assert first.following_tokens(PIANO) == ()
    assert second.following_tokens(PIANO) == world.gather().following_tokens(PIANO)


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
    evidence = world.gather(change(world.coder), settings)
    assert evidence.no_logits is not None
    assert reason in evidence.no_logits
    assert (evidence.top_logits(PIANO), evidence.bottom_logits(PIANO)) == ((), ())


def test_a_transcoder_s_directions_are_projected_from_where_it_writes(world: World) -> None:
    transcoder = replace(
        world.coder,
        architecture="transcoder",
        hook_name="blocks.0.ln2.hook_normalized",
        hook_name_out="blocks.0.hook_mlp_out",
    )
    assert world.gather(transcoder).top_logits(PIANO) == world.gather().top_logits(PIANO)
