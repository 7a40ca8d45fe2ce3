"""The solvers that guess without a label find what is planted, and nothing where nothing is."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from autointerp.score.label_free.solvers import (
    Folds,
    Guessed,
    grade,
    learned_prompt_solver,
    learned_solvers,
    plain_prompt_solvers,
    plain_solvers,
)
from autointerp.score.label_free.statistics import within_prompts
from autointerp.score.label_free.trials import PROMPT_SIZE, Shown, Table, TokenRates, tabulate

N_FEATURES, N_TRIALS, LENGTH = 60, 20, 12
WORDS = [f" w{i}" for i in range(200)]


def trials(seed: int = 0) -> list[Shown]:
    """Trials of random words with one mark, of which every other one is true."""
    rng = np.random.default_rng(seed)
    return [
        Shown(
            feature=feature,
            group=f"document {rng.integers(300)}",
            tokens=tuple(rng.choice(WORDS, LENGTH)),
            marked=(int(rng.integers(LENGTH)),),
            truth=number % 2 == 0,
            place=int(rng.integers(1 << 40)),
        )
        for feature in range(N_FEATURES)
        for number in range(N_TRIALS)
    ]


def table(made: Sequence[Shown]) -> Table:
    return tabulate(made, TokenRates([WORDS] * 50))


def of(guessed: Sequence[Guessed], solver: str) -> float:
    (found,) = [one.auroc for one in guessed if one.solver == solver]
    return found


def with_word(trial: Shown, word: str, offset: int) -> Shown:
    tokens = tuple(word if i == offset else token for i, token in enumerate(trial.tokens))
    return dataclasses.replace(trial, tokens=tokens)


def test_nothing_is_found_where_nothing_is_planted() -> None:
    made = table(trials())
    guessed = [*plain_solvers(made), *learned_solvers(made)]
    for prompts in (made.of_one_feature(), made.mixed()):
        guessed += [*plain_prompt_solvers(prompts), learned_prompt_solver(prompts)]
    assert {one.n_features for one in guessed} == {N_FEATURES}
    # Standard deviation of one feature's AUROC is .13, of the mean of 60 .017: four of them.
    assert max(abs(one.auroc - 0.5) for one in guessed) < 0.07


def test_the_place_of_a_mark_is_found_and_learned() -> None:
    late = table(
        [dataclasses.replace(t, marked=(9 + t.marked[0] % 3 if t.truth else t.marked[0] % 9,)) for t in trials()]
    )
    assert of(plain_solvers(late), "mark late in its context") == 1.0
    assert of(learned_solvers(late), "place and number of marks, learned") > 0.99


def test_rare_words_are_found() -> None:
    rare = table([with_word(t, " quasar", 3) if t.truth else t for t in trials()])
    assert of(plain_solvers(rare), "largest rarity") == 1.0
    assert of(learned_solvers(rare), "surface, learned") > 0.99


def test_a_common_word_is_found_in_prompts_of_one_feature_and_not_in_mixed_ones() -> None:
    themed = table(
        [with_word(t, f" theme{t.feature}", 3) if t.truth else with_word(t, f" x{t.place}", 3) for t in trials()]
    )
    assert of(plain_prompt_solvers(themed.of_one_feature()), "common word") > 0.99
    assert of(plain_prompt_solvers(themed.of_one_feature()), "same token at the same place") > 0.9
    assert of(plain_prompt_solvers(themed.mixed()), "common word") == pytest.approx(0.5, abs=0.07)


def test_a_word_marked_here_and_unmarked_there_is_found_out() -> None:
    """As where true marks repeat one word, which stands unmarked in the trials that are marked falsely."""
    told = table(
        [
            dataclasses.replace(with_word(t, f" theme{t.feature}", 3), marked=(3 if t.truth else 4 + t.marked[0] % 8,))
            for t in trials()
        ]
    )
    guessed = plain_prompt_solvers(told.of_one_feature())
    assert of(guessed, "marked token marked elsewhere") > 0.95
    assert of(guessed, "no token marked elsewhere unmarked here") > 0.95


def test_no_trial_is_guessed_by_how_often_its_word_is_marked_in_the_others() -> None:
    """True marks of a feature stand on one word, false ones each on another: only many trials together tell."""
    words = [f" t{t.feature if t.truth else t.place:013d}" for t in trials()]
    repeated = table([with_word(t, word, t.marked[0]) for t, word in zip(trials(), words, strict=True)])
    assert of(learned_solvers(repeated), "one trial, all") == pytest.approx(0.5, abs=0.07)
    assert of(plain_prompt_solvers(repeated.of_one_feature()), "marked token marked elsewhere") > 0.95


def test_no_feature_and_no_document_teaches_about_itself() -> None:
    """Each document has one truth and a word of its own: whoever saw it knows the answer."""
    truth_of = {f"document {i}": i % 2 == 0 for i in range(300)}
    made = table([with_word(dataclasses.replace(t, truth=truth_of[t.group]), f" in {t.group}", 0) for t in trials()])
    assert of(learned_solvers(made), "bag of tokens, learned") == pytest.approx(0.5, abs=0.07)
    folds = Folds.of(made)
    assert len({(feature, fold) for feature, fold in zip(made.feature, folds.feature, strict=True)}) == N_FEATURES


def test_prompts_hold_twenty_trials_of_one_feature_or_one_each_of_twenty() -> None:
    made = table(trials())
    for rows in made.of_one_feature(10).prompts:
        assert len(rows) == 10
        assert len({made.feature[row] for row in rows}) == 1
    for rows in made.mixed().prompts:
        assert len(rows) == PROMPT_SIZE == len({made.feature[row] for row in rows})


def test_what_is_the_same_all_over_a_prompt_is_zero_within_it() -> None:
    made = table(trials()).of_one_feature()
    columns = np.stack([np.ones(len(made.trials)), made.feature.astype(float)], axis=1)
    assert not within_prompts(made, columns).any()


def test_a_grade_is_the_mean_over_features_of_the_area_within_each() -> None:
    made = table(trials()[: 2 * N_TRIALS])
    right_in_one = np.where(made.feature == 0, made.truth, 0.0)
    assert grade("", made, right_in_one).auroc == pytest.approx(0.75)
    offset_by_feature = made.truth + 10.0 * made.feature
    assert grade("", made, offset_by_feature).auroc == 1.0
