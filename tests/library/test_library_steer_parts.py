"""The parts of steering to order, on the planted model, whose features promote the words that they are of."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import autointerp
from autointerp import Client
from autointerp.library.feature import FeatureGroup
from autointerp.library.steer import controls
from autointerp.library.steer.answers import Answers, Arm, Asker, Sampling, Spent
from autointerp.library.steer.candidates import by_output, gather
from autointerp.library.steer.known_answers import KnownAnswer, KnownAnswers, key_of
from autointerp.library.steer.lens import Lens
from autointerp.library.steer.material import shipped_questions
from autointerp.library.steer.measures import Concept
from autointerp.library.steer.output_score import output_scores
from autointerp.library.steer.prompts import Prompts
from autointerp.library.steer.pushing import Pushing
from autointerp.library.steer.question_set import QuestionAsker
from autointerp.live.edits import direction, directions
from autointerp.live.generation.request import GenerationRequest, LogitShifts
from autointerp.live.generation.stream import Stream
from autointerp.live.next_token import find_head
from autointerp.live.subject import LiveSubject
from autointerp.records.live import Edit, EditScope, Push, SourceEdits
from tests.run.planted import COLOURS, DEAD, FEATURES

SHIP, RIVER, COLOUR = 0, 1, 2


@pytest.fixture(scope="module")
def client(planted_runs: Path) -> Client:
    return autointerp.open(planted_runs / "runs/demo")


@pytest.fixture(scope="module")
def live(client: Client) -> LiveSubject:
    return client.run.live.of_source(client.sources()[0])


@pytest.fixture(scope="module")
def source_id(client: Client) -> str:
    return client.sources()[0].source_id


def test_the_lens_tells_what_a_feature_points_to_and_which_tokens_are_a_word(live: LiveSubject, source_id: str) -> None:
    lens = Lens(live, source_id)
    top = lens.top([SHIP, COLOUR])
    assert lens.shown(top[0, :1].tolist()) == ("ship",)
    assert set(lens.shown(top[1, :3].tolist())) == set(COLOURS)
    (ship,) = lens.tokens_of("Ships")
    assert ship == top[0, 0]
    assert lens.tokens_of("zantle") == ()
    towards = lens.towards([ship])[:, 0]
    assert towards.argmax() == SHIP
    assert towards[DEAD] == 0


def test_features_are_found_by_the_words_that_they_point_to(live: LiveSubject, source_id: str) -> None:
    found = by_output(Lens(live, source_id), ("zantle", "red", "ships", "sky"), 1)
    assert found == {COLOUR: ("red",), SHIP: ("ships",)}
    assert by_output(Lens(live, source_id), ("zantle",), 3) == {}


def test_the_output_score_is_high_where_what_a_feature_points_to_comes(live: LiveSubject, source_id: str) -> None:
    lens, head = Lens(live, source_id), find_head(live.sources.subject)
    weak, strong = (output_scores(lens, head, {SHIP: value, RIVER: value}) for value in (0.01, 3.0))
    assert strong[SHIP].best_rank == 0
    assert strong[SHIP].probability > 0.9
    assert strong[SHIP].score == pytest.approx(strong[SHIP].probability)
    assert strong[SHIP].gain > 0.8
    assert weak[SHIP].score < 0.1
    assert weak[SHIP].score == pytest.approx(
        (1 - weak[SHIP].best_rank / len(head.weights)) * weak[SHIP].probability, rel=1e-6
    )
    assert strong[RIVER].tokens[0] == "river"
    assert output_scores(lens, head, {}) == {}


def test_what_features_do_to_words_is_what_the_gradient_says_of_small_edits(live: LiveSubject, source_id: str) -> None:
    pushing = Pushing(Lens(live, source_id), find_head(live.sources.subject), ("ships", "zantle", "river"))
    assert list(pushing.tokens) == ["ships", "river"], "no token is a made-up word"
    products, some, small = pushing.products(), [SHIP, RIVER, COLOUR], 0.01
    lengths = directions(live.source(source_id).coder, torch.tensor(some)).norm(dim=1).tolist()
    gains = pushing.gains({index: small / length for index, length in zip(some, lengths, strict=True)})
    for index in some:
        assert gains[index] / small == pytest.approx(products[:, index], rel=0.1, abs=0.02)
    assert np.abs(products[:, some]).max() > 0.1, "else nothing is compared"
    assert np.isfinite(products[:, DEAD]).all()


def test_features_are_found_by_what_they_do_to_words(live: LiveSubject, source_id: str) -> None:
    pushing = Pushing(Lens(live, source_id), find_head(live.sources.subject), ("ships", "river"))
    gains = pushing.gains({SHIP: 3.0, RIVER: 3.0})
    assert gains[SHIP][0] > 1 > gains[SHIP][1]
    assert gains[RIVER][1] > 1 > gains[RIVER][0]
    found = pushing.strongest(1, -np.inf)
    assert len(found) <= 2
    assert sorted(facet for facets in found.values() for facet in facets) == ["river", "ships"]
    assert pushing.strongest(1, 50.0) == {}
    assert Pushing(pushing.lens, pushing.head, ("zantle",)).strongest(1, -np.inf) == {}


def test_candidates_that_several_ways_find_come_first(client: Client) -> None:
    lookup = client.features.lookup
    found = gather(lookup([6, 7]), lookup([8, 7]), {7: ("piano",), 9: ("tiger",)}, lookup, 3)
    assert [(of.index, of.found_by, of.promotes) for of in found] == [
        (7, ("labels", "contrast", "output"), ("piano",)),
        (6, ("labels",), ()),
        (8, ("contrast",), ()),
    ]
    assert gather(FeatureGroup(), FeatureGroup(), {}, lookup, 3) == []


def test_controls_are_as_long_as_what_they_are_held_against(client: Client, live: LiveSubject, source_id: str) -> None:
    coder = live.source(source_id).coder
    values = {SHIP: 0.8, RIVER: 0.5}
    norm = controls.norm_of(coder, values)
    both = 0.8 * direction(coder, SHIP) + 0.5 * direction(coder, RIVER)
    assert norm == pytest.approx(float(both.norm()))
    (backwards,) = controls.wrong_sign(source_id, values)
    assert backwards == SourceEdits(source_id, (Edit(SHIP, "add", -0.8), Edit(RIVER, "add", -0.5)))
    drawn = controls.noise(source_id, 128, norm, 5, seed=1)
    pushes = [push for (of,) in drawn for push in of.edits if isinstance(push, Push)]
    lengths = [float(np.linalg.norm(push.vector)) * push.value for push in pushes]
    assert lengths == pytest.approx([norm] * 5)
    cosines = np.array([push.vector for push in pushes]) @ np.array([push.vector for push in pushes]).T
    assert np.abs(cosines - np.eye(5)).max() < 0.5, "each prompt has its own"
    histograms = client.run.activation_histograms(None, source_id)
    alike = controls.features_alike(histograms, coder, 0.02, list(values))
    assert not {SHIP, RIVER, DEAD} & set(alike.tolist())
    others = controls.random_features(source_id, coder, alike, norm, 4, seed=1)
    edits = [edit for (of,) in others for edit in of.edits if isinstance(edit, Edit)]
    assert len({of.feature_index for of in edits}) == 4
    assert [controls.norm_of(coder, {of.feature_index: of.value}) for of in edits] == pytest.approx([norm] * 4)
    assert controls.random_features(source_id, coder, alike[:0], norm, 4, seed=1) == []


def test_features_alike_are_those_of_the_closest_density(client: Client, live: LiveSubject, source_id: str) -> None:
    coder, histograms = live.source(source_id).coder, client.run.activation_histograms(None, source_id)
    density = histograms.n_active / histograms.n_tokens
    alike = controls.features_alike(histograms, coder, float(density[4]), [4]).tolist()
    assert len(alike) == sum(bool(words) for words in FEATURES) - 1
    off = np.abs(np.log(density[alike] / density[4]))
    assert off.tolist() == sorted(off)


def test_the_difference_of_means_points_to_what_answers_have_more_of(live: LiveSubject, source_id: str) -> None:
    prompt, ship, bread = live.read_text("the"), live.read_text("ship"), live.read_text("bread and")
    towards = controls.difference_of_means(live, source_id, [(prompt, ship)] * 2, [(prompt, bread)])
    assert towards is not None
    assert float(np.linalg.norm(towards)) == pytest.approx(1, abs=1e-5)
    of_features = live.source(source_id).coder.decoder.detach().numpy() @ towards
    assert of_features.argmax() == SHIP
    assert controls.difference_of_means(live, source_id, [(prompt, ())], [(prompt, bread)]) is None


def test_answers_are_measured_by_prompt_in_every_arm(client: Client, live: LiveSubject, source_id: str) -> None:
    record, head, prompts = client.sources()[0], find_head(live.sources.subject), Prompts(live)
    embedder = client.run.embedder
    asker = Asker(
        client.run.live.generator(record), head, prompts, Concept("ship", embedder), embedder, Sampling(6, 0.0)
    )
    instructions = ["a river", "the tiger"]
    ids = tuple(prompts.instruction(text) for text in instructions)
    towards = controls.source_edits(source_id, {SHIP: 2.0})
    plain, steered = asker.ask(instructions, [Arm("plain", ids, ((), ())), Arm("steered", ids, ((), towards))])
    assert plain.texts[0] == steered.texts[0], "it has no edit"
    assert steered.texts[1] == " ship" * 6
    assert steered.mentions.tolist() == [[False], [True]]
    assert steered.concept[1] > 0.9 > plain.concept[1]
    assert steered.repetition[1] == pytest.approx(2 / 3)
    assert 0 < steered.loss[1] < 0.2, "the plain model repeats what it reads"
    spent = asker.spent
    assert (spent.n_answers, spent.n_generated, spent.n_known) == (3, 18, 1), "one of the four is another's"


def test_what_was_answered_once_is_known_whatever_it_is_scored_by(
    client: Client, live: LiveSubject, source_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, prompts, embedder = find_head(live.sources.subject), Prompts(live), client.run.embedder
    generator = client.run.live.generator(client.sources()[0])
    instructions = ["the window", "a piano"]
    ids = tuple(prompts.instruction(text) for text in instructions)
    towards = controls.source_edits(source_id, {SHIP: 1.5})
    arms = [Arm("plain", ids, ((), ())), Arm("steered", ids, (towards, towards))]

    def ask(what: str, seed: int) -> tuple[list[Answers], Spent]:
        asker = Asker(generator, head, prompts, Concept(what, embedder), embedder, Sampling(6, 1.0, seed=seed))
        return asker.ask(instructions, arms), asker.spent

    first, spent = ask("ship", 91)
    assert (spent.n_answers, spent.n_known) == (4, 0)
    submitted, submit = list[GenerationRequest](), generator.submit

    def record(request: GenerationRequest) -> Stream:
        submitted.append(request)
        return submit(request)

    monkeypatch.setattr(generator, "submit", record)
    again, spent = ask("ship", 91)
    assert (spent.n_answers, spent.n_generated, spent.n_read, spent.n_known) == (0, 0, 0, 4)
    other, _ = ask("piano", 91)
    assert not submitted
    for one, same, scored in zip(first, again, other, strict=True):
        assert one.texts == same.texts == scored.texts
        for name in ("concept", "loss", "repetition", "kept"):
            assert np.array_equal(getattr(one, name), getattr(same, name)), name
    assert first[1].concept.mean() > other[1].concept.mean()
    ask("ship", 92)
    assert len(submitted) == 4, "another seed's answers are others"


def test_a_known_answer_is_told_by_all_that_it_depends_on(source_id: str) -> None:
    base = GenerationRequest((1, 2), edits=controls.source_edits(source_id, {SHIP: 1.5}))
    others: list[GenerationRequest] = [
        replace(base, prompt=(1, 3)),
        replace(base, edits=()),
        replace(base, edits=controls.source_edits(source_id, {SHIP: 1.25})),
        replace(base, edits=controls.source_edits("another", {SHIP: 1.5})),
        replace(base, edits=controls.noise(source_id, 4, 1.0, 1, 0)[0]),
        replace(base, edits=controls.noise(source_id, 4, 1.0, 1, 1)[0]),
        replace(base, edits=controls.noise(source_id, 4, 2.0, 1, 1)[0]),
        replace(base, scope=EditScope("generated")),
        replace(base, max_new_tokens=7),
        replace(base, temperature=0.5),
        replace(base, top_p=0.5),
        replace(base, seed=7),
        replace(base, stop=("x",)),
        replace(base, shifts=LogitShifts({7: 1.0})),
    ]
    assert len({key_of(request) for request in [base, *others]}) == 1 + len(others)
    assert key_of(replace(base, edits=controls.source_edits(source_id, {SHIP: 1.5}))) == key_of(base)


def test_known_answers_take_no_more_memory_than_they_may() -> None:
    answer = KnownAnswer((1, 2, 3), "one two three", 1.0)
    kept = KnownAnswers(most_bytes=3 * answer.n_bytes)
    for name in (b"a", b"b", b"c"):
        kept.keep(name, answer)
    assert kept.get(b"a") == answer
    kept.keep(b"d", answer)
    kept.keep(b"d", answer)
    assert [name for name in (b"a", b"b", b"c", b"d") if kept.get(name)] == [b"a", b"c", b"d"], "asked for last"
    kept.keep(b"long", KnownAnswer((1,) * 1000, "x", 1.0))
    assert kept.get(b"long") is None, "it alone is more"


def test_questions_are_asked_as_far_as_the_subject_can_read_them(live: LiveSubject, source_id: str) -> None:
    head, prompts = find_head(live.sources.subject), Prompts(live)
    asker = QuestionAsker(live, head, prompts, seed=0)
    n = asker.order.size
    assert 0 < n < len(shipped_questions().questions), "some are longer than the planted model reads"
    assert sorted(asker.order) == list(range(n))
    places = asker.order[:8].tolist()
    plain = asker.plain(places)
    assert (plain == asker.right(places, ())).all()
    n_asked = asker.n_asked
    assert (asker.plain(places[::-1]) == plain[::-1]).all()
    assert asker.n_asked == n_asked, "plain answers are kept"
    assert ((asker.chance(places) >= 0.25) & (asker.chance(places) <= 0.5)).all()
    assert asker.right([], ()).size == 0


def test_an_option_is_read_behind_its_opening(live: LiveSubject) -> None:
    question = shipped_questions().questions[0]
    options = Prompts(live).options(question)
    assert options is not None
    for option, reading in zip(question.options, options, strict=True):
        text = "".join(live.pieces.pieces(reading.token_ids[reading.first :]))
        assert text.strip() == option
    assert Prompts(live).is_chat
