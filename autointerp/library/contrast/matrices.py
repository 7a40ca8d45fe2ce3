"""Which features tell two sets of texts apart, from what the features do on each text.

How each is tested, and what is exact of it, stands in `largest`; how large it is, in `effects`.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Int64

from autointerp.errors import CompareError
from autointerp.identity import feature_id
from autointerp.library.contrast.design import Pairs, TwoSets, joined
from autointerp.library.contrast.effects import measure_effects
from autointerp.library.contrast.largest import LEVEL, ROUNDING, Deviations, RankedValues, compare_features
from autointerp.library.contrast.result import Contrast, FeatureContrast
from autointerp.library.feature import Feature
from autointerp.score.clusters import numbered
from autointerp.store.known import check_count, shown
from autointerp.text_table import number

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Lookup = Callable[[Sequence[str]], Iterable[Feature]]
"""Features by their names, `model@source:index`, in that order."""
N_DIVISIONS = 1000


def contrast_matrices(
    dataset_1: Mapping[str, "csr_array"],
    dataset_2: Mapping[str, "csr_array"],
    top_k: int | None = 10,
    *,
    paired: bool = False,
    groups: tuple[Sequence[Hashable], Sequence[Hashable]] | None = None,
    lookup: Lookup | None = None,
    aggregate_by: Literal["max", "mean", "sum", "frequency"] = "mean",
    seed: int = 0,
    n_divisions: int = N_DIVISIONS,
    notes: Sequence[str] = (),
) -> Contrast:
    """Find the features that tell two sets of texts apart, from what each does in each text.

    Args:
        dataset_1: By source, a matrix (text, feature); the texts are in the same order for each source.
        dataset_2: The same of the other set.
        top_k: Features wanted of either side; all that are found where None.
        paired: Whether text i of one belongs to text i of the other.
        groups: Of each set's texts the group (document, author, conversation) that each is of, in any names; texts of
            one group are one unit. No group is in both sets, unless they are pairs: then pairs that share a group on
            either side are one unit. By default each text, or pair, is a unit of its own.
        lookup: Gives labels; without it features have none.
        aggregate_by: What the matrices hold.
        seed: Of the divisions that are drawn.
        n_divisions: Divisions that are tried, at least 20.
        notes: To be shown with the result.

    Raises:
        CompareError: If a set is empty, pairs are not as many on both sides, sources or features are not the same, a
            value is not finite, or groups don't fit the texts.
        SearchError: If `top_k` or `n_divisions` is no number of things.
    """
    if top_k is not None:
        check_count("top_k", top_k)
    if check_count("n_divisions", n_divisions) < 1 / LEVEL:
        raise CompareError(f"{n_divisions} divisions can't tell anything from chance", "try 20 or more")
    from scipy import sparse

    dataset_1, dataset_2 = (
        {source: sparse.csr_array(of) for source, of in dataset.items()} for dataset in (dataset_1, dataset_2)
    )
    n_1, n_2 = _n_texts(dataset_1, dataset_2)
    design = design_of(n_1, n_2, paired=paired, groups=groups)
    values, names = _side_by_side(dataset_1, dataset_2)
    ranked = RankedValues(values, n_1, design)
    tested = compare_features(ranked, n_divisions, seed)
    which_1, which_2 = _leading(ranked, tested, top_k)
    if lookup is None:
        lookup = _unlabelled
    leading_1, leading_2 = (_contrasts(ranked, tested, which, names, lookup) for which in (which_1, which_2))
    is_1 = tested.z > 0
    return Contrast(
        leading_1=leading_1,
        leading_2=leading_2,
        n_1=ranked.n_1,
        n_2=ranked.n_2,
        is_paired=paired,
        n_units_1=design.n_units_1,
        n_units_2=design.n_units_2,
        n_found_1=int(np.sum(tested.is_found & is_1)),
        n_found_2=int(np.sum(tested.is_found & ~is_1)),
        n_compared=tested.feature.size,
        n_left_out=tested.n_left_out,
        n_divisions=tested.n_tried,
        aggregate_by=aggregate_by,
        notes=(*notes, *_notes(design, tested)),
    )


def design_of(
    n_1: int, n_2: int, *, paired: bool, groups: tuple[Sequence[Hashable], Sequence[Hashable]] | None
) -> TwoSets | Pairs:
    """How the texts of two sets can be exchanged.

    Raises:
        CompareError: If they can't: see `contrast_matrices`.
    """
    if n_1 == 0 or n_2 == 0:
        raise CompareError(f"dataset {1 if n_1 == 0 else 2} has no texts", "give at least one to each")
    if paired and n_1 != n_2:
        raise CompareError(
            f"there are {n_1:,} texts in dataset 1 and {n_2:,} in dataset 2, and pairs are of one of each",
            "give as many, in the order of the pairs, or leave `paired` out",
        )
    if groups is None:
        return Pairs(np.arange(n_1)) if paired else TwoSets(np.arange(n_1), np.arange(n_2))
    if len(groups) != 2:
        raise CompareError(
            f"groups are given for {len(groups):,} datasets",
            "give two lists: of the texts of dataset 1, and of dataset 2",
        )
    for dataset, (of_set, n) in enumerate(zip(groups, (n_1, n_2), strict=True), start=1):
        if len(of_set) != n:
            raise CompareError(
                f"dataset {dataset} has {n:,} texts and {len(of_set):,} names of groups", "name the group of each text"
            )
        if odd := [name for name in of_set if not isinstance(name, Hashable)]:
            raise CompareError(f"{shown(odd[0])} can't name a group", "name groups by texts or numbers")
    if paired:
        return Pairs(joined(numbered(groups[0]), numbered(groups[1])))
    if both := set(groups[0]) & set(groups[1]):
        raise CompareError(
            f"the group {next(iter(both))!r} has texts in both datasets, so that they can't be exchanged as a whole",
            "put each group into one dataset, or give pairs",
        )
    return TwoSets(numbered(groups[0]), numbered(groups[1]))


def _n_texts(dataset_1: Mapping[str, "csr_array"], dataset_2: Mapping[str, "csr_array"]) -> tuple[int, int]:
    """Texts of either set, whose matrices fit."""
    if set(dataset_1) != set(dataset_2) or not dataset_1:
        one, other = (", ".join(sorted(of)) or "no source" for of in (dataset_1, dataset_2))
        raise CompareError(f"dataset 1 was read by {one}, dataset 2 by {other}", "read both by the same sources")
    for source in sorted(dataset_1):
        widths = dataset_1[source].shape[1], dataset_2[source].shape[1]
        if widths[0] != widths[1]:
            raise CompareError(
                f"{source} has {widths[0]:,} features in dataset 1 and {widths[1]:,} in dataset 2",
                "read both by the same coder",
            )
    n_1, n_2 = ({of.shape[0] for of in dataset.values()} for dataset in (dataset_1, dataset_2))
    assert len(n_1) == len(n_2) == 1, "every source has read the same texts"
    return n_1.pop(), n_2.pop()


def _side_by_side(
    dataset_1: Mapping[str, "csr_array"], dataset_2: Mapping[str, "csr_array"]
) -> tuple[Any, list[tuple[str, int]]]:
    """Both sets' matrices of all sources, one below and one beside the other; and each source's number of features."""
    from scipy import sparse

    stacked = []
    for source in sorted(dataset_1):
        for dataset, of in ((1, dataset_1[source]), (2, dataset_2[source])):
            with np.errstate(over="ignore"):
                wrong = np.flatnonzero(~np.isfinite(of.data.astype(np.float32, copy=False)))
            if wrong.size:
                feature = feature_id(source, int(of.indices[wrong[0]]))
                raise CompareError(
                    f"{feature} is {of.data[wrong[0]]} in a text of dataset {dataset}", "leave the text out"
                )
        # Rows are stacked, and columns then put side by side: either way scipy takes the short one.
        stacked.append(sparse.vstack([dataset_1[source], dataset_2[source]], format="csr").tocsc())
    values = stacked[0] if len(stacked) == 1 else sparse.hstack(stacked, format="csc")
    return values, [(source, dataset_1[source].shape[1]) for source in sorted(dataset_1)]


def _leading(ranked: RankedValues, tested: Deviations, top_k: int | None) -> tuple[Any, Any]:
    """Places of the features to show, of either side, best first."""
    shown = []
    found = np.flatnonzero(tested.is_found)
    sure = np.zeros(tested.z.size)
    if found.size:
        effects = measure_effects(ranked, tested, found)
        sure[found] = np.maximum(effects.auroc_low - 0.5, 0.5 - effects.auroc_high)
    for sign in (1, -1):
        of_side = np.flatnonzero(sign * tested.z > ROUNDING)
        order = np.lexsort((-np.abs(tested.z[of_side]), -sure[of_side], ~tested.is_found[of_side]))
        n_shown = int(tested.is_found[of_side].sum()) if top_k is None else top_k
        shown.append(of_side[order[:n_shown]])
    return shown[0], shown[1]


def _contrasts(
    ranked: RankedValues,
    tested: Deviations,
    which: Int64[np.ndarray, " feature"],
    names: list[tuple[str, int]],
    lookup: Lookup,
) -> tuple[FeatureContrast, ...]:
    effects = measure_effects(ranked, tested, which)
    ends = np.cumsum([n for _, n in names])
    asked = []
    for column in tested.feature[which].tolist():
        place = int(np.searchsorted(ends, column, side="right"))
        source, n_features = names[place]
        asked.append(feature_id(source, column - (int(ends[place]) - n_features)))
    features = list(lookup(asked)) if asked else []
    return tuple(
        FeatureContrast(
            feature=feature,
            auroc=float(effects.auroc[i]),
            auroc_interval=(float(effects.auroc_low[i]), float(effects.auroc_high[i])),
            p_value=float(tested.p_value[which[i]]),
            mean_1=float(effects.mean_1[i]),
            mean_2=float(effects.mean_2[i]),
            difference_interval=(float(effects.difference_low[i]), float(effects.difference_high[i])),
            hedges_g=float(effects.hedges_g[i]),
            share_1=float(effects.share_1[i]),
            share_2=float(effects.share_2[i]),
            n_1=ranked.n_1,
            n_2=ranked.n_2,
        )
        for i, feature in enumerate(features)
    )


def _unlabelled(names: Sequence[str]) -> list[Feature]:
    """Features of which nothing is known but their names."""
    found = []
    for name in names:
        source, _, index = name.rpartition(":")
        found.append(
            Feature(
                source_id=source,
                index=int(index),
                label=None,
                explanation_id=None,
                explainer=None,
                scores={},
                intervals={},
                density=float("nan"),
                relevance=None,
                n_alike=None,
                run="",
            )
        )
    return found


def _notes(design: TwoSets | Pairs, tested: Deviations) -> Iterator[str]:
    what, enough = ("pairs", "6 pairs") if isinstance(design, Pairs) else ("texts", "4 texts of each")
    if design.sizes.max() > 1:
        what, enough = f"groups of {what}", enough.replace(what, f"groups of {what}")
    if design.least_p > LEVEL:
        yield (
            f"no difference between so few {what} can be told from chance, and none has an interval: the smallest"
            f" p-value that they allow is {number(design.least_p)}; give {enough} or more"
        )
    elif tested.feature.size == 0:
        yield f"no feature fires in enough of the {what} to be compared"
