"""Scorers by name: ours, and those that users write in one file."""

import ast
import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from autointerp.config import JudgeConfig, ModelConfig
from autointerp.contexts.pool import PoolTiles
from autointerp.errors import PipelineError
from autointerp.explain import registry as explainers
from autointerp.llm import Journal, connect
from autointerp.records import ScoreWithTrials, Usage
from autointerp.run.language_models import MeteredModel
from autointerp.score.base import BaseScorer
from autointerp.score.judges.llm import LlmJudge
from autointerp.score.registry import BUILT_IN, load_scorer
from tests.loopback.server import Call, LoopbackServer, Outcome, Say
from tests.loopback.truth import shown_contexts
from tests.score.world import ANIMALS, COLOURS, Scripted, World, explanation_of, read, scored, tools

HERE = Path(__file__).parent
PACKAGE = HERE.parents[1] / "autointerp"
EXAMPLE = f"{HERE / 'example_scorer.py'}:PeakScorer"
COLOUR = 1


def test_ours_are_found_by_the_names_that_they_give_themselves() -> None:
    for name in BUILT_IN:
        assert load_scorer(name).name == name


def test_the_example_of_the_documentation_tells_true_labels_from_false_ones(world: World, pool: PoolTiles) -> None:
    scorer = load_scorer(EXAMPLE)(tools(Scripted(read)))
    given = world.given(COLOUR, pool, n=200)
    true, false = (
        scored(scorer.score(explanation_of(COLOUR, " ".join(words)), given)).score for words in (COLOURS, ANIMALS)
    )
    assert (true.scorer, true.metric, true.value) == ("peak", "balanced accuracy", 1.0)
    assert false.value == pytest.approx(0.5, abs=0.02)
    assert true.detail["sensitivity"] == 1.0


class PeaksOnly:
    """Says yes to every marked colour, and wants the example's own prompt."""

    def reply(self, call: Call) -> Outcome:
        assert "this token is what the\nnumber's label is about" in call.system
        answers = [
            [c.number, 90 if {piece.strip() for piece in c.marked} & set(COLOURS) else 5]
            for c in shown_contexts(call.user)
        ]
        return Say(json.dumps({"answers": answers}))


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield journal


def test_its_prompt_is_put_to_a_language_model_and_what_that_cost_is_told_once(
    world: World, pool: PoolTiles, journal: Journal
) -> None:
    async def run(server: LoopbackServer) -> tuple[ScoreWithTrials, Usage]:
        model = ModelConfig(
            model="m", base_url=server.openai_url, usd_per_million_input=1.0, usd_per_million_output=2.0
        )
        async with connect(model, journal) as connected:
            meter = MeteredModel(connected)
            scorer = load_scorer(EXAMPLE)(tools(LlmJudge(meter, JudgeConfig(kind="llm", model=model))))
            done = await scorer.score(explanation_of(COLOUR, "colours"), world.given(COLOUR, pool, n=100))
            assert isinstance(done, ScoreWithTrials)
            assert meter.usage == connected.usage
            return done, meter.usage

    with LoopbackServer(PeaksOnly()) as server:
        (first, paid), (again, paid_again) = asyncio.run(run(server)), asyncio.run(run(server))
    assert first.score.value == 1.0
    assert paid.n_calls == len(server.calls) > 0
    assert (paid.cost_usd or 0.0) > 0
    assert again == first
    assert paid_again.n_calls == 0, "the journal answers, and nothing is paid"


def copied(folder: Path) -> Path:
    for name in ("example_scorer.py", "example_scorer.txt"):
        (folder / name).write_text((HERE / name).read_text(encoding="utf-8"), encoding="utf-8")
    return folder / "example_scorer.py"


def test_its_fingerprint_follows_its_file_and_its_contexts(tmp_path: Path) -> None:
    file = copied(tmp_path)

    def made(contexts_fingerprint: str = "") -> BaseScorer:
        return load_scorer(f"{file}:PeakScorer")(tools(Scripted(read), contexts_fingerprint=contexts_fingerprint))

    before = made().fingerprint
    assert load_scorer(EXAMPLE)(tools(Scripted(read))).fingerprint == before, "not where it lies"
    assert made("others").fingerprint != before
    file.write_text(file.read_text(encoding="utf-8").replace("turn % 2 == 0", "turn % 2 == 1"), encoding="utf-8")
    assert made().fingerprint != before


NO_METRIC = """
from tests.score.example_scorer import PeakScorer as Whole

class PeakScorer(Whole):
    metric = interval = ""
"""


DERIVED = "from tests.score.example_scorer import PeakScorer as Whole\nclass PeakScorer(Whole):\n    "


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("PeakScorer = 3", "PeakScorer in .*mine.py is not a scorer: derive it from autointerp.score.base.BaseScorer"),
        (
            "from autointerp.score.base import BaseScorer as PeakScorer",
            "mine.py lacks measure, pose, name",
        ),
        (NO_METRIC, "the scorer PeakScorer in .*mine.py lacks metric, interval: add it to the class"),
        (f"{DERIVED}name = 3", "the scorer PeakScorer in .*mine.py has name = 3: .*valid string: mend the class"),
        (f"{DERIVED}task = 'peak'", "the scorer PeakScorer in .*mine.py has task = 'peak': .*instance of Task"),
        (f"{DERIVED}version = '2'", "the scorer PeakScorer in .*mine.py has version = '2': .*valid integer"),
        (f"{DERIVED}n_together = 0", "has n_together = 0: .*greater than or equal to 1"),
        (f"{DERIVED}side = 'inward'", "has side = 'inward': .*'input' or 'output'"),
        (f"{DERIVED}classes = ('yes',)", r"has classes = \('yes',\): .*"),
        (f"{DERIVED}stops_early = 'no'", "has stops_early = 'no': .*valid boolean"),
        ("1 / 0", r"the scorer in .*mine.py can't be imported \(ZeroDivisionError: division by zero\): mend that file"),
    ],
)
def test_a_file_that_is_no_scorer_is_told_in_one_line(tmp_path: Path, code: str, said: str) -> None:
    (tmp_path / "mine.py").write_text(code, encoding="utf-8")
    with pytest.raises(PipelineError, match=said) as caught:
        load_scorer(f"{tmp_path / 'mine.py'}:PeakScorer")
    assert "\n" not in str(caught.value)


def posing(folder: Path, code: str) -> BaseScorer:
    """The example, with other code where it gives its questions."""
    file = copied(folder)
    text = file.read_text(encoding="utf-8").replace("return marked(contexts.feature, key)", code)
    file.write_text(text, encoding="utf-8")
    return load_scorer(f"{file}:PeakScorer")(tools(Scripted(read)))


def test_questions_may_be_posed_one_after_the_other(world: World, pool: PoolTiles, tmp_path: Path) -> None:
    scorer = posing(tmp_path, "yield from marked(contexts.feature, key)")
    given = world.given(COLOUR, pool, n=200)
    assert scored(scorer.score(explanation_of(COLOUR, " ".join(COLOURS)), given)).score.value == 1.0


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("return None", "the scorer 'peak' on feature 1 failed .*'NoneType' object is not iterable"),
        ("return [3]", "the scorer 'peak' posed what is no `Posed` with a truth: mend its `pose`"),
        (
            "return [Posed(p.question, None) for p in marked(contexts.feature, key)]",
            "the scorer 'peak' posed what is no `Posed` with a truth: mend its `pose`",
        ),
    ],
)
def test_what_is_no_question_is_told_in_one_line(
    world: World, pool: PoolTiles, tmp_path: Path, code: str, said: str
) -> None:
    scorer = posing(tmp_path, code)
    with pytest.raises(PipelineError, match=said):
        asyncio.run(scorer.score(explanation_of(COLOUR, "colours"), world.given(COLOUR, pool)))


def constants(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_no_scorer_and_no_explainer_is_named_outside_its_own_room_and_the_defaults() -> None:
    # What an embedding of a label is called in the store is another thing than the scorer of that name, and so is what
    # is asked of a feature's recall; both are columns.
    names = (set(BUILT_IN) | set(explainers.BUILT_IN)) - {"embedding", "recall", "evidence"}
    rooms = ("run", "cli", "store", "export", "search", "library", "contexts", "llm", "records")
    for path in (file for room in rooms for file in (PACKAGE / room).rglob("*.py")):
        assert not constants(path) & names, f"{path.relative_to(PACKAGE)} names a scorer or an explainer"
    for room, own in (("score", set(explainers.BUILT_IN)), ("explain", set(BUILT_IN))):
        for path in (PACKAGE / room).rglob("*.py"):
            if path.name not in {"registry.py", "best_of.py", "recall.py"}:
                assert not constants(path) & own - {"embedding", "recall"}, f"{path.name} names one of the other room"


def test_the_documentation_shows_the_example_as_it_is_run() -> None:
    page = (HERE.parents[1] / "docs" / "scores.md").read_text(encoding="utf-8")
    for name in ("example_scorer.py", "example_scorer.txt"):
        assert (HERE / name).read_text(encoding="utf-8").strip() in page


def test_a_score_prints_as_plain_numbers(world: World, pool: PoolTiles) -> None:
    scorer = load_scorer(EXAMPLE)(tools(Scripted(read)))
    of = scored(scorer.score(explanation_of(COLOUR, "colours"), world.given(COLOUR, pool, n=200)))
    assert "float64" not in repr(of.score)
