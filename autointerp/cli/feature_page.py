"""One feature in text: what `autointerp show` prints."""

from autointerp.cli.tables import marked, number, percent, with_interval
from autointerp.records import Context
from autointerp.search.library import FeatureView


def feature_lines(view: FeatureView, n_contexts: int) -> list[str]:
    """Lines about a feature: statistics, labels with scores, the strongest and the silent contexts, failures."""
    feature = view.feature
    lines = [
        f"{feature.source_id}:{feature.feature_index}  ({feature.status})",
        f"fires on {feature.n_active:,} tokens ({percent(feature.density)}), "
        f"mean {feature.mean_activation:.2f}, max {feature.max_activation:.2f}",
    ]
    if feature.top_tokens:
        tokens = ", ".join(f"{token.token.strip()!r} x{token.n_active}" for token in feature.top_tokens[:10])
        lines.append(f"most often on {tokens}")
    if not view.labels and not view.failures:
        lines += ["", f"no label: nobody asked for one yet; run the pipeline with --features {feature.feature_index}"]
    for scored in view.labels:
        explanation = scored.explanation
        by = f"{explanation.explainer}, {explanation.model}"
        if explanation.is_baseline:
            by = f"shuffled: the label of feature {explanation.label_from}"
        lines += ["", f"label  {explanation.label}", f"       by {by}"]
        for score in scored.scores:
            unanswered = f", {score.n_unanswered} unanswered" if score.n_unanswered else ""
            metric = score.detail.get("metric", "")
            lines.append(
                f"       {score.scorer:<10} {with_interval(score)}  {metric}, judge {score.judge}, "
                f"{score.n_trials} trials{unanswered}"
            )
    lines += _context_lines("strongest contexts", _strongest(view.contexts, n_contexts))
    silent = [c for c in view.contexts if c.kind.startswith("silent")][: n_contexts // 2]
    lines += _context_lines("silent contexts", silent)
    if view.failures:
        lines += ["", "failures"]
        lines += [f"  {f.stage}: {f.error_type}: {f.message}" for f in view.failures]
    return lines


def _strongest(contexts: tuple[Context, ...], n: int) -> list[Context]:
    active = [context for context in contexts if context.is_active]
    return sorted(active, key=lambda c: (-c.max_activation, c.context_id))[:n]


def _context_lines(title: str, contexts: list[Context]) -> list[str]:
    if not contexts:
        return []
    lines = ["", title]
    lines += [f"  {number(c.max_activation):>6}  {marked(c)}  ({c.kind}, {c.split}, {c.document_id})" for c in contexts]
    return lines
