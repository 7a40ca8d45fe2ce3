from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from autointerp.errors import PuzzleError
from autointerp.puzzles.load import FAULTS, Puzzle, PuzzleKind, load_puzzles
from autointerp.puzzles.predicate import Rule
from autointerp.puzzles.text import RowText
from autointerp.puzzles.truth import measure_truth, planted_activations
from tests.puzzles.planted import Planted

CAT = Rule(words=("cat",))


def pieces(text: str) -> list[str]:
    """Words as a tokenizer would cut them: after a bar a piece goes on with the word before."""
    return [piece for word in text.split() for piece in f" {word}".split("|")]


def held(rule: Rule, *rows: str) -> list[str]:
    """The pieces of which a rule holds."""
    cut = [pieces(row) for row in rows]
    mask = rule.holds(RowText.join(cut))
    return [piece.strip() for piece, holds in zip((p for row in cut for p in row), mask, strict=True) if holds]


def test_a_word_is_found_whole_in_any_case_and_on_all_of_its_pieces() -> None:
    assert held(CAT, "The Cat and a cat|s scat|ter con|cat c|at") == ["Cat", "c", "at"]


def test_a_pattern_fires_on_its_group_at_where_it_has_one() -> None:
    assert held(Rule(pattern=r"number of"), "the number of rows") == ["number", "of"]
    assert held(Rule(pattern=r"(?P<at>number) of"), "the number of rows, a number") == ["number"]


def test_what_is_asked_for_near_by_is_looked_for_on_the_right_side_and_in_the_same_row() -> None:
    the = Rule(words=("the",))
    rows = ("the cat sat", "cat the", "a the", "cat")
    assert held(Rule(words=("cat",), after=the), *rows) == ["cat"]
    assert len(held(Rule(words=("cat",), before=the), *rows)) == 1
    assert len(held(Rule(words=("cat",), near=the), *rows)) == 2
    assert held(Rule(words=("sat",), after=the), *rows) == []
    assert held(Rule(words=("sat",), after=the, within=2), *rows) == ["sat"]


def test_a_word_is_not_near_itself() -> None:
    assert held(Rule(words=("cat",), near=CAT, within=5), "a cat sat", "cat and cat") == ["cat", "cat"]


def test_a_rule_holds_unless_another_does() -> None:
    rule = Rule(words=("cat", "dog"), unless=Rule(words=("cat",), after=Rule(words=("the",))))
    assert held(rule, "the cat the dog a cat") == ["dog", "cat"]


def test_rows_of_nothing_count_as_rows() -> None:
    rows = RowText.join([[], [" cat"], []])
    assert rows.any_by_row(CAT.holds(rows)).tolist() == [False, True, False]
    assert CAT.holds(RowText.join([])).size == 0
    assert Rule(words=("cat",), near=CAT, within=9).holds(RowText.join([[]])).size == 0


def test_letters_that_grow_in_lower_case_shift_nothing() -> None:
    assert held(CAT, "İİİ cat dog") == ["cat"]


def test_truth_is_the_count_worked_out_by_hand() -> None:
    windows = RowText.join([pieces(t) for t in ("a cat", "a cat and a dog", "a dog", "a bird", "a horse")])
    truth = measure_truth(windows.any_by_row(CAT.holds(windows)), windows, Rule(words=("dog", "bird")))
    assert (truth.n_windows, truth.n_firing, truth.n_said, truth.n_both) == (5, 2, 3, 1)
    assert (truth.base_rate, truth.sensitivity, truth.precision) == (2 / 5, 1 / 2, 1 / 3)
    assert (truth.false_alarm_rate, truth.f1) == (2 / 3, 2 / 5)


def test_rates_of_nothing_are_none() -> None:
    windows = RowText.join([[" dog"]])
    truth = measure_truth(np.array([False]), windows, CAT)
    assert (truth.sensitivity, truth.precision, truth.f1, truth.false_alarm_rate) == (None, None, None, 0.0)


def test_activations_are_above_one_where_a_feature_fires_and_the_same_each_time() -> None:
    blocks = RowText.join([pieces("a cat and a cat")])
    activations = planted_activations(CAT, blocks, "cat")
    assert (activations > 1).tolist() == [False, True, False, False, True]
    assert activations[1] != activations[4]
    assert np.array_equal(activations, planted_activations(CAT, blocks, "cat"))


def test_there_are_puzzles_of_every_kind_each_with_a_label_of_every_fault(puzzles: tuple[Puzzle, ...]) -> None:
    assert len(puzzles) == 52, "as many as the documentation says"
    assert {puzzle.kind for puzzle in puzzles} == set(get_args(PuzzleKind))
    assert all(tuple(label.fault for label in puzzle.labels) == FAULTS for puzzle in puzzles)
    assert len({puzzle.label("true").text for puzzle in puzzles}) == len(puzzles)


def test_labels_on_the_demo_s_text_are_as_wrong_as_they_are_said_to_be(planted: Planted) -> None:
    for feature, puzzle in enumerate(planted.puzzles):
        of = planted.truths(feature)
        true, broad, narrow = of["true"], of["broad"], of["narrow"]
        assert true.n_said > 0, puzzle.name
        # A window may cut off what the rule looks at, and hold too little of a topic.
        assert (true.sensitivity or 0) >= 0.75, puzzle.name
        assert (true.precision or 0) >= 0.98, puzzle.name
        assert (broad.sensitivity or 0) >= (true.sensitivity or 0) - 0.01, puzzle.name
        assert narrow.n_both < true.n_both, puzzle.name
        assert narrow.precision is None or narrow.precision >= 0.95, puzzle.name
        assert (of["sibling"].f1 or 0) < (true.f1 or 0) - 0.05, puzzle.name
        assert (of["unrelated"].f1 or 0) < 0.4, puzzle.name
        if puzzle.kind != "dense":
            assert (broad.precision or 0) < (true.precision or 0) - 0.1, puzzle.name


def test_rare_features_are_rare_and_the_dense_one_is_everywhere(planted: Planted) -> None:
    density = (planted.dense > 0).sum(axis=(0, 1)) / planted.shard.counted.sum()
    for feature, puzzle in enumerate(planted.puzzles):
        if puzzle.kind == "rare":
            assert 0 < density[feature] < 3e-4, puzzle.name
        if puzzle.kind == "dense":
            assert (planted.dense[:, :, feature] > 0).any(axis=1).mean() > 0.99
    assert min(density[f] for f, p in enumerate(planted.puzzles) if p.kind == "rare") < 2e-5


GOOD = """
[[puzzle]]
name = "{name}"
kind = "token"
label = "the word {name}"
fires = {{ words = ["{name}"] }}
broad = {{ label = "any text", means = {{ anything = true }} }}
narrow = {{ label = "the {name}", means = {{ words = ["{name}"], after = {{ words = ["the"] }} }} }}
sibling = "{other}"
unrelated = "{other}"
"""
BOTH = GOOD.format(name="cat", other="dog") + GOOD.format(name="dog", other="cat")


def test_puzzles_of_ones_own_are_read(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(BOTH, encoding="utf-8")
    cat, dog = load_puzzles(tmp_path)
    assert cat.label("sibling").text == dog.label("true").text == "the word dog"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('words = ["cat"]', 'words = ["Cat"]', "'Cat' is no word of small letters"),
        ('words = ["cat"]', 'words = ["two words"]', "is no word"),
        ('words = ["cat"]', "words = []", "a rule needs one of words, pattern, any and anything, and has 0"),
        ('words = ["cat"]', 'words = ["cat"], pattern = "x"', "has 2"),
        ('words = ["cat"]', 'pattern = "("', "no regular expression"),
        ('words = ["cat"]', 'words = ["cat"], within = 3', "`within` says nothing"),
        ('words = ["cat"]', 'word = ["cat"]', "puzzle 'cat', key `fires.word`"),
        ('sibling = "dog"', 'sibling = "cow"', "sibling of puzzle 'cat' is 'cow'"),
        ('sibling = "dog"', 'sibling = "cat"', "sibling of puzzle 'cat' is 'cat'"),
        ('name = "dog"', 'name = "cat"', "2 puzzles are named 'cat'"),
        ('kind = "token"', 'kind = "tokens"', "key `kind`"),
        ("[[puzzle]]", "[[puzzle]", "is no TOML"),
        ("[[puzzle]]", "[[riddle]]", "key `puzzle`"),
    ],
)
def test_a_mistake_in_a_file_is_one_line_that_says_where(tmp_path: Path, old: str, new: str, said: str) -> None:
    (tmp_path / "own.toml").write_text(BOTH.replace(old, new), encoding="utf-8")
    with pytest.raises(PuzzleError) as raised:
        load_puzzles(tmp_path)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert str(tmp_path) in str(raised.value)


def test_a_folder_without_puzzles_is_told(tmp_path: Path) -> None:
    with pytest.raises(PuzzleError, match="no puzzle files"):
        load_puzzles(tmp_path / "none")
