"""One feature in text: what `autointerp show` prints."""

from collections.abc import Iterable, Mapping
from itertools import islice

from autointerp.cli.before_after_lines import before_after_lines
from autointerp.cli.tables import bars, marked, with_interval
from autointerp.cli.token_tables import TOKENS_SHOWN, choose_order, input_lines, next_lines, quoted
from autointerp.library.feature_page import ContextChoice, FeaturePage
from autointerp.records import SCORER_KINDS, Context, Neighbor, Score, TokenOrder
from autointerp.score.dispute import Refereed, refereed
from autointerp.score.tier import Tier
from autointerp.text_table import number, percent, shorten

_CONTEXTS_SHOWN = 8
_NEIGHBORS_SHOWN = 6
_NEIGHBOR_LABEL_WIDTH = 24
_OTHERS_NAMED = 5
_NULLS = {
    "shuffled": "shuffled: the label of feature {}",
    "most_frequent_token": "nobody: the token it fires on most, for comparison",
    "no_label": "nobody: what a judge guesses without a label, for comparison",
}
_SIDES = {"input": "what it fires on", "output": "what it promotes"}


def feature_lines(page: FeaturePage, choice: ContextChoice, token_order: str | None = None) -> list[str]:
    """Lines about a feature: evidence, labels with scores, the strongest and the silent contexts, failures.

    Args:
        page: The feature.
        choice: The contexts that were asked for.
        token_order: One of `records.TOKEN_ORDERS`; None: the one that tells most.

    Raises:
        FilterError: If there is no such order, or the store lacks what it needs.
    """
    feature = page.feature
    lines = _evidence_lines(page, choose_order(token_order, feature))
    if page.why_no_label is not None:
        lines += ["", f"no label: {page.why_no_label}"]
    for scored in page.labels:
        explanation = scored.explanation
        candidate = explanation.detail.get("chosen")
        by = explanation.explainer + (f" (written by {candidate})" if candidate else "") + f", {explanation.model}"
        if explanation.n_contexts is not None:
            by += f", from {explanation.n_contexts} contexts"
        if explanation.is_baseline:
            by = _NULLS[explanation.explainer].format(explanation.label_from)
        lines += ["", f"label  {explanation.label}", f"       by {by}"]
        if page.same_label and not explanation.is_baseline:
            lines.append(f"       {_same_label(page.same_label)}")
        if explanation.side:
            lines.append(f"       about the {explanation.side}: {_SIDES[explanation.side]}")
        if explanation.excludes:
            lines.append(f"       excludes: {explanation.excludes}")
        if note := explanation.detail.get("note"):
            lines.append(f"       {note}")
        lines += [f"       {line}" for line in before_after_lines(explanation.detail)]
        for score in scored.scores:
            lines.append(
                f"       {score.scorer:<10} {with_interval(score)}  {score.metric}, judge {score.judge}, "
                f"{score.n_trials} trials{_besides(score)}{_unanswered(score)}"
            )
            lines += [f"       {'':<10} {line}" for line in (*_corrected(score), *_at_base_rate(score))]
            if note := score.detail.get("uninformative"):
                lines.append(f"       {'':<10} uninformative: {note}")
            if (said := refereed(score.detail)) is not None and said.is_disputed:
                lines.append(f"       {'':<10} {_disputed(said)}")
            if note := score.detail.get("alone"):
                lines.append(f"       {'':<10} prompts of one feature: {note}")
        if page.tier is not None and not explanation.is_baseline:
            lines.append(f"       {'tier':<10} {_told_tier(page.tier)}")
    lines += _every_context(page, are_chosen=choice != ContextChoice())
    if page.failures:
        lines += ["", "failures"]
        lines += [f"  {f.stage}: {f.error_type}: {f.message}" for f in page.failures]
    return lines


def _same_label(others: tuple[int, ...]) -> str:
    told = ", ".join(map(str, others[:_OTHERS_NAMED])) + (", …" if len(others) > _OTHERS_NAMED else "")
    return (
        f"{len(others):,} other features carry the same label: {told}"
        if len(others) > 1
        else (f"feature {told} carries the same label")
    )


def _told_tier(tier: Tier) -> str:
    return f"{tier.name}, carried by {', '.join(tier.carried_by)}" if tier.carried_by else tier.name


def _besides(score: Score) -> str:
    """What else the value comes from: a judge who is free is asked about more than what has trials."""
    n_judged = score.detail.get("n_tiles_judged")
    return f" and {n_judged:,} windows of the pool" if n_judged else ""


def _at_base_rate(score: Score) -> list[str]:
    """What a headline on half firing contexts comes to at the feature's own rate, where the scorer says so."""
    detail = score.detail
    if "f1_at_base_rate" not in detail:
        return []
    told = [
        f"{name} {number(detail[key])}"
        + (f" [{number(ends['low'])} {number(ends['high'])}]" if (ends := detail.get(f"{key}_interval")) else "")
        for name, key in (("precision", "precision_at_base_rate"), ("F1", "f1_at_base_rate"))
    ]
    chance = f"{number(detail['base_rate'])} and {number(detail['chance_f1_at_base_rate'])}"
    return [f"at its own firing rate: {', '.join(told)}; a yes to everything gets {chance}"]


def _corrected(score: Score) -> list[str]:
    """The value without the judge's errors, where a calibration was named; or why there is none."""
    if "corrected" not in score.detail:
        return []
    value = score.detail["corrected"]
    if value is None:
        return [f"not corrected for the judge's errors: {score.detail['undefined']['corrected']}"]
    limits, rates = score.detail["corrected_interval"], score.detail["judge_rates"]
    told = f"{number(value)} [{number(limits['low'])} {number(limits['high'])}]"
    judge = f"sensitivity {number(rates['sensitivity'])}, specificity {number(rates['specificity'])}"
    return [f"{told}  corrected for the judge's errors: {judge} on puzzles"]


def _disputed(said: Refereed) -> str:
    """What a rule that is as good as the truth says of the label, where it disagrees with the judge."""
    of, share = said.referee, f"{100 * said.agreement:.0f} % [{100 * said.low:.0f} {100 * said.high:.0f}]"
    return (
        f"a rule of precision {number(of.precision)} and recall {number(of.recall)} says otherwise: {of.rule}; the"
        f" judge agrees with it on {share} of {said.n_trials} trials"
    )


def _unanswered(score: Score) -> str:
    if not score.n_unanswered:
        return ""
    bounds = score.detail.get("bounds")  # a score of before has none
    ends = f" (between {number(bounds['low'])} and {number(bounds['high'])}, had they been)" if bounds else ""
    return f", {score.n_unanswered} unanswered{ends}"


def _every_context(page: FeaturePage, *, are_chosen: bool) -> list[str]:
    if page.no_contexts is not None:
        return ["", f"contexts: {page.no_contexts}"]
    if are_chosen and not page.contexts:
        return ["", "no context is as asked for"]
    n_active, n_silent = (None, None) if are_chosen else (_CONTEXTS_SHOWN, _CONTEXTS_SHOWN // 2)
    silent = [
        context
        for context in page.contexts
        if not context.is_active and (are_chosen or context.kind not in SCORER_KINDS)
    ]
    return [
        *_context_lines("strongest contexts", _strongest(page.contexts, n_active)),
        *_context_lines("silent contexts", silent[:n_silent]),
    ]


def _evidence_lines(page: FeaturePage, order: TokenOrder) -> list[str]:
    feature = page.feature
    lines = [
        f"{feature.source_id}:{feature.feature_index}  ({feature.status})",
        f"fires on {feature.n_active:,} tokens ({percent(feature.density)}), "
        f"mean {feature.mean_activation:.2f}, max {feature.max_activation:.2f}",
    ]
    filled = [place for place, count in enumerate(feature.histogram) if count]
    if filled and len(page.histogram_edges) > len(feature.histogram):
        first, last = filled[0], filled[-1] + 1
        low, high = page.histogram_edges[first], page.histogram_edges[last]
        # The outermost bins hold what lies beyond them, too.
        span = f"from {low:g} to {high:g}, doubling at each bar"
        span += "; the last holds all above" if feature.max_activation >= high else ""
        span += "; the first holds all below" if first == 0 else ""
        lines.append(f"{'activations':<15} {bars(feature.histogram[first:last])}  {span}")
    lines += [*input_lines(feature, order), *next_lines(feature, order)]
    lines += _token_line("promotes", (f"{quoted(t.token)} {t.logit:+.2f}" for t in feature.top_logits))
    lines += _token_line("suppresses", (f"{quoted(t.token)} {t.logit:+.2f}" for t in feature.bottom_logits))
    if page.source.no_logits:
        lines.append(f"{'promotes':<15} unknown: {page.source.no_logits}")
    titles = {"decoder": "close decoders", "coactivation": "fires with"}
    for space in dict.fromkeys(neighbor.space for neighbor in page.neighbors):
        near = [n for n in page.neighbors if n.space == space][:_NEIGHBORS_SHOWN]
        lines += _token_line(titles.get(space, space), (_neighbor(n, page.neighbor_labels) for n in near))
    return lines


def _token_line(title: str, items: Iterable[str]) -> list[str]:
    shown = ", ".join(islice(items, TOKENS_SHOWN))
    return [f"{title:<15} {shown}"] if shown else []


def _neighbor(neighbor: Neighbor, labels: Mapping[int, str]) -> str:
    label = labels.get(neighbor.feature_index)
    return f"{neighbor.feature_index} {number(neighbor.similarity)}" + (
        f" ({shorten(label, _NEIGHBOR_LABEL_WIDTH)})" if label else ""
    )


def _strongest(contexts: tuple[Context, ...], n: int | None) -> list[Context]:
    active = [context for context in contexts if context.is_active]
    return sorted(active, key=lambda c: (-c.max_activation, c.context_id))[:n]


def _context_lines(title: str, contexts: list[Context]) -> list[str]:
    if not contexts:
        return []
    lines = ["", title]
    for c in contexts:
        where = ", ".join(filter(None, (c.kind, c.split, c.document_id)))
        lines.append(f"  {number(c.max_activation):>6}  {marked(c)}  ({where})")
    return lines
