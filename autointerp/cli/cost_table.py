"""`--dry-run`: what a run, or trying explainers, would cost, as a table or as JSON."""

from collections.abc import Callable
from typing import Any

import typer

from autointerp.cli.reporting import ConsoleReporter
from autointerp.config import Pipeline
from autointerp.records import Usage
from autointerp.run.dry_run import CostPlan, PlannedUsage
from autointerp.run.progress import Reporter
from autointerp.text_table import table

_UNFORESEEN = "Repairs, refusals and attempts that have to be repeated are not foreseen"


def make_plan(pipeline: Pipeline, planned: Callable[[Pipeline, Reporter], CostPlan]) -> CostPlan:
    """Plan, with progress on standard error."""
    typer.echo("Planning: local stages are carried out as far as they are not finished; no call is made.", err=True)
    with ConsoleReporter() as reporter:
        return planned(pipeline, reporter)


def cost_rows(name: str, plan: CostPlan) -> list[str]:
    """The plan of a run as lines for people."""
    if not plan.stages:
        return [f"{name} asks no language model: it costs nothing."]
    header = ["stage", "model", "calls", "tokens in", "of them cached", "tokens out", "cost"]
    rows = [[stage.stage, stage.model, *_cells(stage.usage)] for stage in plan.stages]
    if len(rows) > 1:
        rows.append(["total", "", *_cells(plan.total)])
    return [*table(header, rows, left=(0, 1)), "", *cost_notes(plan)]


def cost_notes(plan: CostPlan) -> list[str]:
    """What has to be known with the numbers, a sentence each."""
    counted = dict.fromkeys((stage.model, stage.counted) for stage in plan.stages)
    priced = dict.fromkeys((stage.model, _prices(stage)) for stage in plan.stages)
    notes = [f"Tokens of {model}: {how}." for model, how in counted]
    notes += [f"Prices of {model}: {prices}." for model, prices in priced]
    thoughts = any("no call" in stage.counted for stage in plan.stages)
    notes.append(f"{_UNFORESEEN}{', nor are the thoughts of reasoning models' if thoughts else ''}.")
    if plan.is_most:
        notes.append("This is the most: labels that score.stop finds known well enough are asked about no further.")
    if plan.may_be_near:
        notes.append("This is the most: any label that is not yet written may be nearly another's (explain.distinct).")
    if n_failed := sum(stage.n_failed for stage in plan.stages):
        notes.append(f"{n_failed} planned answers did not fit what was asked for: what follows from them is missing.")
    if plan.max_cost_usd is not None:
        notes.append(_budget(plan))
    return notes


def plan_as_json(plan: CostPlan) -> dict[str, Any]:
    """The plan as plain values."""
    return {
        "stages": [
            {
                "stage": stage.stage,
                "model": stage.model,
                **_usage(stage.usage),
                "tokens_counted": stage.counted,
                "prices": stage.prices,
                "share_of_prices": stage.share,
                "n_failed": stage.n_failed,
            }
            for stage in plan.stages
        ],
        "total": _usage(plan.total),
        "budget": {
            "max_cost_usd": plan.max_cost_usd,
            "spent_usd": plan.spent_usd,
            "remaining_usd": plan.remaining_usd,
            "suffices": plan.suffices,
        },
        "notes": cost_notes(plan) if plan.stages else [],
    }


def _prices(stage: PlannedUsage) -> str:
    if stage.usage.cost_usd is None and stage.usage.n_calls:
        return (
            "unknown; set usd_per_million_input and usd_per_million_output in its table, or name a file in llm.prices"
        )
    return f"{stage.prices}{', halved by batch' if stage.share != 1 else ''}"


def _budget(plan: CostPlan) -> str:
    told = f"Budget: ${plan.max_cost_usd:g} (llm.max_cost_usd), of which ${plan.spent_usd:.4f} are spent"
    match plan.suffices:
        case None:
            return f"{told}. With unknown prices the run will not start."
        case True:
            return f"{told}: the rest suffices, if the most that one call can cost (max_output_tokens) stays free."
        case False:
            return f"{told}: the rest does not suffice, and the run will stop before its end."


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "n_calls": usage.n_calls,
        "input_tokens": usage.input_tokens,
        "cached_input_tokens": usage.cached_input_tokens,
        "output_tokens": usage.output_tokens,
        "cost_usd": usage.cost_usd,
    }


def _cells(usage: Usage) -> list[str]:
    cost = "unknown" if usage.cost_usd is None else f"${usage.cost_usd:,.4f}"
    counts = (usage.n_calls, usage.input_tokens, usage.cached_input_tokens, usage.output_tokens)
    return [*(f"{count:,}" for count in counts), cost]
