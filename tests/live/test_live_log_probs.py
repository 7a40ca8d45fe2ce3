"""How likely the subject finds tokens that are there: as one pass over each text by itself tells it."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from autointerp.errors import SubjectError
from autointerp.live.edits import edited
from autointerp.live.log_probs import Reading, token_log_probs
from autointerp.live.next_token import find_head
from autointerp.live.subject import LiveSubject
from autointerp.records.live import Edit, SourceEdits
from tests.live.test_live_next_token import live_of
from tests.run.planted import Planted

EDITS = (SourceEdits("m@s", (Edit(0, "add", 2.0),)),)
BEGINNING = (3, 1, 4, 1, 5)


@pytest.fixture(scope="module")
def live(planted: Planted) -> LiveSubject:
    return live_of(planted.model, planted.coder)


def one_by_one(live: LiveSubject, reading: Reading, edits: Sequence[SourceEdits]) -> Tensor:
    ids = torch.tensor([reading.token_ids])
    source, head = live.source("m@s"), find_head(live.sources.subject)
    everywhere = torch.ones_like(ids, dtype=torch.bool)
    with torch.inference_mode(), edited(source, [of.edits for of in edits] or [()], everywhere):
        hidden = live.sources.subject.model(input_ids=ids, use_cache=False).last_hidden_state[0]
    log_probs = head.log_probs(hidden)
    return torch.stack([log_probs[i - 1, reading.token_ids[i]] for i in range(reading.first, ids.shape[1])])


@pytest.mark.parametrize("edits", [(), EDITS], ids=["plain", "edited"])
@pytest.mark.parametrize(
    "readings",
    [
        [Reading((*BEGINNING, 9, 2, 6), 6), Reading((*BEGINNING, 5, 3), 6), Reading((*BEGINNING, 5, 3, 5, 8, 9), 7)],
        [Reading((7, 2, 6), 1), Reading((9, 5, 3, 2), 2), Reading((7, 2, 6, 6), 2), Reading((7, 2, 8), 2)],
        [Reading((9, 5, 3, 2), 1)],
    ],
    ids=["with a beginning in common", "with none", "a single one"],
)
def test_texts_together_are_as_each_by_itself(
    live: LiveSubject, readings: list[Reading], edits: tuple[SourceEdits, ...]
) -> None:
    found = token_log_probs(live, find_head(live.sources.subject), readings, edits)
    for reading, ours in zip(readings, found, strict=True):
        expected = one_by_one(live, reading, edits).double().numpy()
        np.testing.assert_allclose(ours, expected, atol=1e-4)


def test_edits_change_them(live: LiveSubject) -> None:
    head, readings = find_head(live.sources.subject), [Reading((*BEGINNING, 9, 2), 5)]
    (plain,), (after,) = token_log_probs(live, head, readings), token_log_probs(live, head, readings, EDITS)
    assert np.abs(after - plain).max() > 0.01


def test_where_nothing_is_asked_about_nothing_is_answered(live: LiveSubject) -> None:
    head = find_head(live.sources.subject)
    (nothing, some) = token_log_probs(live, head, [Reading(BEGINNING, 5), Reading((*BEGINNING, 7), 5)])
    assert (nothing.size, some.size) == (0, 1)
    assert token_log_probs(live, head, []) == []


def test_what_is_longer_than_the_model_reads_is_told(live: LiveSubject) -> None:
    with pytest.raises(SubjectError, match="64 positions"):
        token_log_probs(live, find_head(live.sources.subject), [Reading((1,) * 66, 1)])
