"""Contexts written by hand: words with an activation each."""

from autointerp.records import Context, ContextKind, Split

SOURCE = "m@s"


def context(
    text: str,
    *,
    kind: ContextKind = "top",
    split: Split = "explain",
    feature_index: int = 7,
    block_index: int = 0,
    context_id: str | None = None,
) -> Context:
    """A context from words, `word=3.5` one that fires with 3.5."""
    pairs = [word.rpartition("=") if "=" in word else (word, "", "0") for word in text.split(" ")]
    tokens = tuple(word if i == 0 else f" {word}" for i, (word, _, _) in enumerate(pairs))
    return of_tokens(
        tokens,
        tuple(float(value) for _, _, value in pairs),
        kind=kind,
        split=split,
        feature_index=feature_index,
        block_index=block_index,
        context_id=context_id,
    )


def of_tokens(
    tokens: tuple[str, ...],
    activations: tuple[float, ...],
    *,
    kind: ContextKind = "top",
    split: Split = "explain",
    feature_index: int = 7,
    block_index: int = 0,
    context_id: str | None = None,
) -> Context:
    """A context from tokens and activations."""
    highest = max(activations)
    return Context(
        context_id=context_id or f"c{block_index}",
        source_id=SOURCE,
        feature_index=feature_index,
        kind=kind,
        split=split,
        tokens=tokens,
        token_ids=tuple(range(len(tokens))),
        activations=activations,
        max_activation=highest,
        peak=activations.index(highest) if highest > 0 else 0,
        quantile=0 if highest > 0 else None,
        document_id=f"d{block_index}",
        block_index=block_index,
        start=0,
    )
