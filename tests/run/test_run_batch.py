"""The whole pipeline by batch endpoints: the same labels and scores as by single calls, at half the price."""

from pathlib import Path

import pytest

from autointerp import open_run, run_pipeline
from tests.loopback.batches import BatchServer
from tests.loopback.server import LoopbackServer, Provider
from tests.run.planted import Planted
from tests.run.prepared import WithContexts
from tests.run.test_run_planted import KEY, asked_pipeline, knowing

pytestmark = pytest.mark.slow

BY_BATCH = [f"{table}.model.{key}" for table in ("explain", "judge") for key in ("batch=true", "batch_poll_s=0.05")]
BEST_OF = (
    'explain.explainer="best_of"',
    'explain.candidates=["examples","keywords"]',
    "contexts.select_share=0.4",
    "contexts.n_select=10",
    'score.scorers=["detection"]',
)


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)


@pytest.mark.parametrize(("provider", "settings"), [("openai", ()), ("anthropic", BEST_OF)], ids=["plain", "best_of"])
def test_a_run_by_batches_ends_as_one_by_single_calls_and_costs_half(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path, provider: Provider, settings: tuple[str, ...]
) -> None:
    with LoopbackServer(knowing(error_rate=0.1)) as server:
        single = asked_pipeline(
            planted, tmp_path, server.base_url(provider), *settings, provider=provider, name="single"
        )
        assert run_pipeline(with_contexts(single)).n_failed == 0
        n_calls = len(server.calls)
    with BatchServer(knowing(error_rate=0.1)) as server:
        batch = asked_pipeline(
            planted, tmp_path, server.base_url(provider), *settings, *BY_BATCH, provider=provider, name="batch"
        )
        assert run_pipeline(with_contexts(batch)).n_failed == 0
        assert set(server.answered.values()) == {1}
        assert len(server.answered) == n_calls
        assert len(server.batches) < n_calls / 3
        run_pipeline(batch)
        assert sum(server.answered.values()) == n_calls
    runs = [open_run(pipeline.run_folder) for pipeline in (single, batch)]
    assert runs[0].reader.content_digest() == runs[1].reader.content_digest()
    for stage in ("explain", "score:detection"):
        costs = [next(s.cost_usd for s in run.status() if s.stage == stage) for run in runs]
        assert costs[0] is not None
        assert costs[1] == pytest.approx(costs[0] / 2)
