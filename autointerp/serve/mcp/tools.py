"""The tools: each a name, what it takes, what it replies, and a function that answers by the library's client."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autointerp.library.client import Client
from autointerp.library.feature import FeatureGroup
from autointerp.library.trials import TrialChoice
from autointerp.records import Context
from autointerp.serve.mcp import replies
from autointerp.serve.mcp.arguments import (
    Arguments,
    ContextsArguments,
    InspectArguments,
    NeighborsArguments,
    NoArguments,
    SearchArguments,
    ShowArguments,
    TrialsArguments,
)
from autointerp.serve.mcp.replies import Reply, fitting, measured, message_text
from autointerp.serve.mcp.run_status import status
from autointerp.serve.mcp.shaping import (
    TOKENS_SHOWN,
    baseline_shape,
    context_shape,
    disputed,
    fired_feature,
    fires_on,
    found_feature,
    label_shape,
    moved,
    token_shape,
    token_text,
    trial_shape,
    trials_summary,
)
from autointerp.store.results import shuffled_means

_LABELS_SHOWN = 6
_TOKENS_READ = 200
_TOKENS_ROOM = 6_000


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool.

    Attributes:
        name: Of the tool.
        title: For people.
        description: What an agent has to know to choose and use it.
        arguments: What it takes.
        reply: What it replies.
        answer: The function that does.
        runs_model: Whether it runs the subject, and so may take long.
    """

    name: str
    title: str
    description: str
    arguments: type[Arguments]
    reply: type[Reply]
    answer: Callable[[Client, Any], Reply]
    runs_model: bool = False


def search(client: Client, asked: SearchArguments) -> replies.Found:
    """Find features whose labels are about something."""
    wanted = asked.offset + asked.top_k + 1
    found = client.features.search(asked.query, wanted, source=asked.source, **_filters(asked))
    if asked.rerank and found:
        found = client.features.rerank(found, asked.query)
    return _found(found, asked.top_k, asked.offset)


def neighbors(client: Client, asked: NeighborsArguments) -> replies.Found:
    """Find features close to one, or to several."""
    named = asked.feature if isinstance(asked.feature, list) else [asked.feature]
    wanted = asked.offset + asked.top_k + 1
    found = client.features.neighbors(named, asked.space, wanted, **_filters(asked))
    return _found(found, asked.top_k, asked.offset)


def show(client: Client, asked: ShowArguments) -> replies.Shown:
    """Tell all of a feature but its contexts and trials."""
    feature = client.features.get(asked.feature)
    view = feature.view()
    record = view.feature
    own = [scored for scored in view.labels if not scored.explanation.is_baseline]
    others = [scored for scored in view.labels if scored.explanation.is_baseline]
    shuffled = shuffled_means((scored.explanation, scored.scores) for scored in others)
    lists = {"labels": own, "baselines": others, "failures": view.failures}
    left_out = [f"{len(of) - _LABELS_SHOWN} {name}" for name, of in lists.items() if len(of) > _LABELS_SHOWN]
    return replies.Shown(
        feature=feature.id,
        run=feature.run,
        status=record.status,
        n_active=record.n_active,
        density=measured(record.density),
        mean_activation=measured(record.mean_activation),
        max_activation=measured(record.max_activation),
        labels=[label_shape(scored, shuffled) for scored in own[:_LABELS_SHOWN]],
        tier=view.tier.name if view.tier else None,
        disputed=disputed(view),
        baselines=[baseline_shape(scored) for scored in others[:_LABELS_SHOWN]],
        fires_on=fires_on(record),
        followed_by=[token_text(token.token) for token in record.following_tokens[:TOKENS_SHOWN]],
        promotes=moved((token.token, token.logit) for token in record.top_logits[:TOKENS_SHOWN]),
        suppresses=moved((token.token, token.logit) for token in record.bottom_logits[:TOKENS_SHOWN]),
        neighbor_spaces=list(dict.fromkeys(neighbor.space for neighbor in view.neighbors)),
        n_contexts=len(view.contexts),
        failures=[
            replies.Failed(stage=failed.stage, error=failed.error_type, message=message_text(failed.message))
            for failed in view.failures[:_LABELS_SHOWN]
        ],
        more=f"left out for length: {', '.join(left_out)}; `trials` and `status` tell more" if left_out else None,
    )


def contexts(client: Client, asked: ContextsArguments) -> replies.Contexts:
    """Show where a feature fires, or was thought to."""
    feature = client.features.get(asked.feature)
    drawn: Sequence[Context] = feature.contexts() if asked.kept else feature.view().contexts
    wanted = {"kind": asked.kind, "split": asked.split, "quantile": asked.quantile}
    chosen = [c for c in drawn if all(of in (None, getattr(c, name)) for name, of in wanted.items())]
    chosen.sort(key=lambda context: -context.max_activation)
    rows, more = fitting([context_shape(context) for context in chosen], asked.n, asked.offset)
    if not chosen and not asked.kept:
        kinds = ", ".join(sorted({f"{context.kind} of {context.split}" for context in drawn})) or "none"
        more = f"none is as asked for: there are {kinds}; kept=true also reads what the pass over the corpus kept"
    return replies.Contexts(feature=feature.id, n=len(chosen), contexts=rows, more=more)


def trials(client: Client, asked: TrialsArguments) -> replies.Trials:
    """Show what labels were tried on."""
    feature = client.features.get(asked.feature)
    of_labels = [
        of
        for of in feature.trials(TrialChoice(asked.scorer, asked.errors))
        if asked.baselines or not of.explanation.is_baseline
    ]
    summaries = [trials_summary(of) for of in of_labels]
    room = replies.MOST_CHARACTERS - sum(len(summary.model_dump_json()) for summary in summaries)
    every = [trial_shape(of, shown) for of in of_labels for shown in of.trials]
    rows, more = fitting(every, asked.n, asked.offset, room)
    return replies.Trials(feature=feature.id, summaries=summaries, n=len(every), trials=rows, more=more)


def inspect(client: Client, asked: InspectArguments) -> replies.Inspected:
    """Tell what features do on a text."""
    given = asked.text if isinstance(asked.text, str) else [message.model_dump() for message in asked.text]
    text = client.features.inspect(given, asked.features, source=asked.source, aggregate_by=asked.aggregate_by)
    top = text.top(asked.top_k, rank_by=asked.rank_by)
    features, _ = fitting([fired_feature(fired, text) for fired in top], len(top), 0)
    more = f"of {len(top)} features these fit into a reply" if len(features) < len(top) else None
    tokens: list[replies.ReadToken] = []
    if asked.each_token:
        room = replies.MOST_CHARACTERS - sum(len(feature.model_dump_json()) for feature in features)
        read = text.tokens[asked.offset : asked.offset + _TOKENS_READ + 1]
        rows = [token_shape(token, asked.each_token, asked.rank_by) for token in read]
        tokens, rest = fitting(rows, _TOKENS_READ, asked.offset, max(room, _TOKENS_ROOM), start=asked.offset)
        more = "; ".join(filter(None, (more, rest))) or None
    return replies.Inspected(
        n_tokens=len(text.tokens),
        n_features=len(np.unique(text.firings.feature)),
        features=features,
        tokens=tokens,
        more=more,
    )


def _filters(asked: SearchArguments | NeighborsArguments) -> dict[str, Any]:
    return {
        "min_score": asked.min_score,
        "density": (asked.min_density, asked.max_density),
        "explainer": asked.explainer,
    }


def _found(group: FeatureGroup, n: int, offset: int) -> replies.Found:
    features, more = fitting([found_feature(feature) for feature in group], n, offset)
    if not group:
        more = "nothing passes: ask for something else, or with weaker filters"
    return replies.Found(features=features, more=more)


TOOLS = (
    Tool(
        "status",
        "How far to trust the run",
        "Which runs are open: models, coders, scorers, explainers, how many labels; and how well labels score over all"
        " features beside shuffled labels, which say nothing. Ask this first: it tells what scores are worth here.",
        NoArguments,
        replies.Status,
        status,
    ),
    Tool(
        "search",
        "Find features by meaning",
        "Find features whose labels are about something, most relevant first, each with its best label, the label's"
        " scores with 95 % intervals, and density. Filters hold before the limit. Relevance says that a label is about"
        " the query, not that the label is right: its scores say that.",
        SearchArguments,
        replies.Found,
        search,
    ),
    Tool(
        "show",
        "Show a feature",
        "All that is known of one feature: statistics, every label with scores, intervals, judge and trials, what"
        " shuffled labels score on the same contexts, tokens it fires on and promotes, failures.",
        ShowArguments,
        replies.Shown,
        show,
    ),
    Tool(
        "contexts",
        "Read where a feature fires",
        "Pieces of the corpus where a feature fires, its tokens between << and >>, strongest first; or, by kind, where"
        " it stays silent. Read them to judge a label yourself.",
        ContextsArguments,
        replies.Contexts,
        contexts,
    ),
    Tool(
        "neighbors",
        "Find features close to one",
        "Features closest to one, or to a group, in a space that is named: label, decoder or coactivation.",
        NeighborsArguments,
        replies.Found,
        neighbors,
    ),
    Tool(
        "inspect",
        "See what features do on a text",
        "Runs the model on a text, or a conversation, and tells which features stand out on it: by surprise against how"
        " often each fires in the corpus, with percentiles of its own activations; each_token tells them token by"
        " token. Use it to test a label on sentences of your own. The first call loads the model.",
        InspectArguments,
        replies.Inspected,
        inspect,
        runs_model=True,
    ),
    Tool(
        "trials",
        "See what a label was tried on",
        "Each question that the judge was asked about a feature's label: what it saw, what it answered, what is true."
        " errors=true shows where the label, or the judge, is wrong.",
        TrialsArguments,
        replies.Trials,
        trials,
    ),
)
"""Every tool, in the order in which an agent should get to know them."""
