"""AutoSteer as a whole, on the planted model: what it accepts, what it declines, and what its receipt says."""

import json
from pathlib import Path
from typing import Any

import pytest

import autointerp
from autointerp import Client
from autointerp.errors import SearchError, StoreError, SubjectError
from autointerp.library.steer.answers import Sampling
from autointerp.library.steer.auto import Steering, auto_steer
from autointerp.library.steer.bench import Bench, Examples
from autointerp.library.steer.choice import Limits
from autointerp.library.steer.known_answers import _KNOWN
from autointerp.library.steer.material import shipped_instructions, shipped_questions
from autointerp.library.steer.settings import Settings
from autointerp.live.generation.request import GenerationRequest
from autointerp.live.generation.stream import Stream
from tests.run.planted import FEATURES

SHIP = 0
QUICK = Settings(
    n_prompts=12,
    n_candidates=6,
    n_pairs=6,
    n_kept=2,
    n_screened=2,
    n_questions=8,
    n_questions_reported=24,
    doses=(0.5, 1.5),
    limits=Limits(loss=2.0),  # in six tokens the jump from one word to another weighs much
    sampling=Sampling(max_tokens=6, seed=3),
)


@pytest.fixture(scope="module")
def client(planted_runs: Path) -> Client:
    return autointerp.open(planted_runs / "runs/demo")


def steer(client: Client, specification: str, examples: Examples | None = None) -> Steering:
    return auto_steer(client.features, client.run, client.sources()[0].source_id, specification, examples, QUICK)


@pytest.fixture(scope="module")
def ship(client: Client) -> Steering:
    return steer(client, "talk about ships")


def test_a_feature_that_promotes_a_word_is_chosen_for_it(client: Client, ship: Steering) -> None:
    assert ship.steers, ship.receipt.reasons
    (edit,) = ship.edits
    assert (edit.index, edit.value, edit.unit, edit.mode) == (SHIP, 1.5, "dose", "add")
    assert [of.index for of in ship.variant.edits] == [SHIP]
    assert client.variant().set(ship.edits).edits == ship.edits
    (kept,) = ship.receipt.kept
    assert kept.feature.endswith(f":{SHIP}")
    assert set(kept.found_by) == {"labels", "contrast", "output"}
    assert kept.points_to[0] == "ship"
    (dose,) = client.features.doses(SHIP)
    assert dose.unit is not None
    assert kept.activation == pytest.approx(1.5 * dose.unit)


def test_the_receipt_holds_it_against_every_control(ship: Steering) -> None:
    receipt = ship.receipt
    assert [of.name for of in receipt.arms] == [
        "plain",
        "steered",
        "prompting alone",
        "wrong sign",
        "noise of the same norm",
        "random features",
        "difference of means",
    ]
    steered, plain = receipt.arm("steered"), receipt.arm("plain")
    assert steered.mentions == 1
    assert all(of.mentions == 0 for of in receipt.arms if of not in (steered, receipt.arm("difference of means")))
    assert steered.concept > plain.concept + 0.3
    assert " ship ship" in steered.examples[0]
    assert receipt.verdict is not None
    assert receipt.verdict.over_noise.value == pytest.approx(
        steered.concept - receipt.arm("noise of the same norm").concept
    )
    assert receipt.questions is not None
    assert receipt.questions.n == 24
    assert (receipt.n_choose, receipt.n_report) == (6, 6)
    assert receipt.questions_digest == shipped_questions().digest
    tried = {of.dose: of for of in receipt.tried if of.features == (SHIP,)}
    assert receipt.plain_concept is not None
    assert tried[1.5].concept > receipt.plain_concept + 0.3
    assert receipt.cost.n_answers > 6 * len(receipt.arms)
    told = [*(of.feature for of in receipt.kept), *(of.feature for of in receipt.dropped)]
    assert len(set(told)) == len(told)


def test_the_receipt_is_told_as_a_table_as_markup_and_as_json(ship: Steering) -> None:
    told = repr(ship)
    assert told.startswith("steers: talk about ships\n")
    assert "noise of the same norm" in told
    assert "mentions 'ships': 0 % of plain answers, 100.00 % of steered ones" in told
    plain = json.loads(ship.receipt.to_json())
    assert plain["kept"][0]["strength"] == 1.5
    assert plain["settings"]["limits"]["questions"] == QUICK.limits.questions
    assert [of["name"] for of in plain["arms"]] == [of.name for of in ship.receipt.arms]
    assert "<td>steered</td>" in ship._repr_html_()


def test_the_same_seed_gives_the_same_receipt_from_known_answers_and_anew(client: Client, ship: Steering) -> None:
    known = steer(client, "talk about ships")
    assert known.receipt == ship.receipt
    assert known.edits == ship.edits
    assert known.receipt.cost.n_answers == known.receipt.cost.n_generated == 0
    assert known.receipt.cost.n_known >= ship.receipt.cost.n_answers
    assert "0 answers (" in repr(known)
    _KNOWN.pop(client.run.live.generator(client.sources()[0]))
    anew = steer(client, "talk about ships").receipt
    assert anew == ship.receipt
    assert anew.cost.n_answers == ship.receipt.cost.n_answers > 0


def test_plain_answers_are_generated_for_no_second_specification(
    client: Client, ship: Steering, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = client.run.live.generator(client.sources()[0])
    edits, submit = list[int](), generator.submit

    def record(request: GenerationRequest) -> Stream:
        edits.append(len(request.edits))
        return submit(request)

    monkeypatch.setattr(generator, "submit", record)
    river = steer(client, "the river")
    assert river.receipt.plain_concept is not None
    n_prompted = (river.receipt.n_choose + river.receipt.n_report) * bool(river.receipt.arms)
    assert edits.count(0) == n_prompted, "those who are asked for it in words alone"
    assert river.receipt.cost.n_known >= river.receipt.n_choose


def test_what_no_feature_is_about_is_declined_before_anything_is_generated(client: Client) -> None:
    steering = steer(client, "flumbric zantle")
    assert not steering.steers
    assert len(steering.edits) == 0
    assert steering.receipt.cost.n_generated == 0
    assert repr(steering).startswith("declined: no feature here steers this: flumbric zantle\n  because no label")


def test_one_word_of_a_salad_is_not_what_was_asked_for(client: Client) -> None:
    steering = steer(client, "tiger zantle quorvex plimble drastuvian")
    assert not steering.steers
    assert len(steering.edits) == 0
    assert steering.receipt.verdict is not None
    (reason,) = steering.receipt.reasons
    assert reason == "not mentioned in more answers than without: 'zantle', 'quorvex', 'plimble', 'drastuvian'"


def test_features_that_help_are_tried_together_near_the_best_dose(client: Client) -> None:
    receipt = steer(client, "a ship, a river").receipt
    both = [of for of in receipt.tried if len(of.features) == 2]
    assert [of.dose for of in both] == [0.5, 1.5]
    assert {of.features for of in both} <= {(0, 1), (1, 0)}
    alone = max(of.concept for of in receipt.tried if len(of.features) == 1)
    best = max(receipt.tried, key=lambda of: of.concept)
    assert best.concept >= alone
    assert tuple(int(of.feature.rpartition(":")[2]) for of in receipt.kept) == best.features
    shares = [of.strength * len(best.features) ** 0.5 for of in receipt.kept]
    assert shares == pytest.approx([best.dose] * len(shares))


def test_examples_say_what_is_meant(client: Client) -> None:
    words = ["down", "out", "up", "back", "now", "also", "more", "some"]
    examples = [f"piano {word} piano" for word in words], [f"bread {word} bread" for word in words]
    steering = steer(client, "what the first ones have", examples)
    assert steering.steers, steering.receipt.reasons
    assert FEATURES[steering.edits[0].index] == ("piano",)
    assert steering.receipt.verdict is not None
    assert steering.receipt.verdict.facets == ()


@pytest.mark.parametrize("specification", ["", "  ", "?!", None])
def test_a_specification_that_says_nothing_is_refused(client: Client, specification: str) -> None:
    with pytest.raises(SearchError):
        client.features.AutoSteer(specification)


def test_what_does_not_fit_into_the_window_is_left_out_or_told(client: Client) -> None:
    (long,) = shipped_instructions()[:1]
    bench = Bench(client.features, client.run, client.sources()[0].source_id, "ship " * 40, None, QUICK)
    assert bench.asked_for("prompting alone", [long]) is None
    assert len(bench.choose) == len(bench.report) == QUICK.n_prompts // 2
    with pytest.raises(SubjectError, match="reads 64 tokens at once"):
        client.features.AutoSteer("ship", max_tokens=64)


def test_what_is_wrong_of_the_arguments_is_told(client: Client) -> None:
    with pytest.raises(SearchError, match="examples is empty"):
        client.features.AutoSteer("ship", examples=(["a ship"], []))
    wrong: Any
    for wrong in (5, (["a ship"],), ("a ship", "none"), ([5], ["none"])):
        with pytest.raises(SearchError, match="are no two sets of examples"):
            client.features.AutoSteer("ship", examples=wrong)
    with pytest.raises(SearchError, match="11 prompts tell nothing"):
        client.features.AutoSteer("ship", n_prompts=11)
    with pytest.raises(StoreError, match="there is no source"):
        client.features.AutoSteer("ship", source="another@source")
