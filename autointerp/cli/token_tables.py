"""The tokens that a feature fires on, and those that follow its peaks, as `autointerp show` prints them."""

from collections.abc import Mapping

from autointerp.errors import FilterError
from autointerp.records import TOKEN_ORDERS, FeatureRecord, TokenOrder, input_tokens, next_tokens
from autointerp.records.tokens import in_order
from autointerp.store.known import check_name
from autointerp.text_table import percent, table

TOKENS_SHOWN = 10
_ORDERS: Mapping[TokenOrder, str] = {
    "pmi": "most above chance first",
    "precision": "surest first",
    "count": "most often first",
}


def choose_order(name: str | None, feature: FeatureRecord) -> TokenOrder:
    """By what a feature's tokens are put in order.

    Args:
        name: As a user gave it; None: by what tells most, as far as it is known.
        feature: The feature.

    Raises:
        FilterError: If there is no such order, or the store lacks what it needs.
    """
    if name is not None:
        check_name(name, TOKEN_ORDERS, "token order", FilterError)
    counted = all(token.n_occurrences is not None for token in feature.top_tokens)
    chosen: TokenOrder = next((order for order in TOKEN_ORDERS if order == name), "pmi" if counted else "count")
    if chosen != "count" and not counted:
        raise FilterError(
            f"tokens can't be put in order by {chosen}: this run was collected before their occurrences were counted",
            "ask for --tokens count, or collect again into another run folder",
        )
    return chosen


def input_lines(feature: FeatureRecord, order: TokenOrder) -> list[str]:
    """The tokens that a feature fires on: on how many of how many, and how telling that is, as far as it is known."""
    tokens = in_order(input_tokens(feature), order)[:TOKENS_SHOWN]
    if not tokens:
        return []
    if any(of.pmi is None for of in tokens):
        lines = [f"{'fires most on':<15} {', '.join(f'{quoted(of.token)} x{of.n_active}' for of in tokens)}"]
    else:
        rows = [
            [
                *(quoted(of.token), f"{of.n_active:,}", f"{of.n_occurrences:,}", percent(of.precision or 0.0)),
                *(percent(of.recall), percent(of.mass), f"{of.pmi:.1f}"),
            ]
            for of in tokens
        ]
        header = ["token", "fires", "occurs", "precision", "recall", "mass", "PMI"]
        lines = [f"{'fires on':<15} tokens, {_ORDERS[order]} (--tokens {', '.join(TOKEN_ORDERS)})"]
        lines += [f"  {line}" for line in table(header, rows)]
    if feature.top_tokens_n_missed:
        lines.append(f"{'':<15} each of these counts may be up to {feature.top_tokens_n_missed:,} too low")
    return lines


def next_lines(feature: FeatureRecord, order: TokenOrder) -> list[str]:
    """The tokens that follow a feature's sampled peaks."""
    tokens = in_order(next_tokens(feature), order)[:TOKENS_SHOWN]
    told = ", ".join(f"{quoted(of.token)} x{of.n_peaks} ({_times(of.lift)})" for of in tokens)
    lines = [f"{'followed by':<15} {told}"] if tokens else []
    if feature.n_sampled_peaks:
        lines.append(
            f"{'':<15} of {feature.n_sampled_peaks} sampled peaks, {feature.n_followed_peaks} have a next token; "
            "in brackets: times its share of the corpus"
        )
    return lines


def quoted(token: str) -> str:
    """A token with the space before it: `' key'` and `'key'` are two."""
    return repr(token)


def _times(lift: float) -> str:
    return f"{lift:,.0f}" if lift >= 10 else f"{lift:.1f}"
