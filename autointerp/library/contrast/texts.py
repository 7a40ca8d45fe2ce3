"""Which features tell two sets of texts or conversations apart: both are read by the subject, and compared.

Texts that are the same word for word are one unit: to read a text ten times tells no more than to read it once.
"""

import json
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from autointerp.library.activations import text_matrix
from autointerp.library.aggregate import check_aggregate
from autointerp.library.backend import Backend
from autointerp.library.contrast.matrices import N_DIVISIONS, Lookup, contrast_matrices, design_of
from autointerp.library.contrast.result import Contrast
from autointerp.library.on_texts import several
from autointerp.score import metrics
from autointerp.store.known import check_count, check_flag, check_seed

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from autointerp.live.read import Readable
    from autointerp.records.live import TextFirings

_BY_LENGTH = {
    "max": "max grows with length",
    "sum": "sum grows with length",
    "mean": "the mean of what comes once in a text falls with length",
    "frequency": "the frequency of what comes once in a text falls with length",
}


def contrast_texts(
    sources: Mapping[str, Backend],
    dataset_1: Iterable["Readable"],
    dataset_2: Iterable["Readable"],
    top_k: int | None = 10,
    *,
    paired: bool = False,
    groups: tuple[Sequence[Hashable], Sequence[Hashable]] | None = None,
    aggregate_by: str = "mean",
    lookup: Lookup | None = None,
    seed: int = 0,
    n_divisions: int = N_DIVISIONS,
    on_progress: Callable[[int], None] | None = None,
) -> Contrast:
    """Read two sets of texts, and find the features that tell them apart.

    Args:
        sources: The run that answers for each source; their features are compared all together.
        dataset_1: Texts, or conversations: each a list of messages.
        dataset_2: Others.
        top_k: Features wanted of either side; all that are found where None.
        paired: Whether text i of one belongs to text i of the other: an answer to the same question, a text before and
            after. Pairs are never guessed from equal lengths.
        groups: Of each text the group that it is of; see `contrast_matrices`. By default texts that are the same.
        aggregate_by: What a feature does in a text, as one number: `frequency`, `mean`, `max` or `sum` over its tokens.
            Sets whose texts differ in length are told of.
        lookup: Gives labels.
        seed: Of the divisions that are drawn.
        n_divisions: Divisions that are tried.
        on_progress: Told how many texts have been read, of both sets and for all sources.

    Raises:
        CompareError: If a set is empty, pairs are not as many on both sides, or groups don't fit.
        SearchError: If a set is one text and no collection, there is no such aggregate, or `top_k`, `paired` or `seed`
            makes no sense.
        SubjectError: If the run's model can't be loaded, or it can't read a text.
    """
    aggregate = check_aggregate(aggregate_by)
    if top_k is not None:
        check_count("top_k", top_k)
    paired, seed = check_flag("paired", paired), check_seed(seed)
    sets = [list(several(dataset)) for dataset in (dataset_1, dataset_2)]
    names = [[_name(text) for text in of_set] for of_set in sets]
    by_text = tuple([(place, name) for name in of_set] for place, of_set in enumerate(names))
    # Whatever is wrong of the sets is told before the model is loaded.
    design_of(len(sets[0]), len(sets[1]), paired=paired, groups=groups)
    n_read = 0
    lengths: list[list[int]] = [[], []]

    def counted(firings: Iterator["TextFirings"], place: int) -> Iterator["TextFirings"]:
        nonlocal n_read
        for of_text in firings:
            lengths[place].append(of_text.n_counted)
            n_read += 1
            if on_progress is not None:
                on_progress(n_read)
            yield of_text

    matrices: list[dict[str, csr_array]] = [{}, {}]
    for source, run in sources.items():
        lengths = [[], []]
        for place, of_set in enumerate(sets):
            n_features = next(of.n_features for of in run.sources() if of.source_id == source)
            firings = counted(run.firings(of_set, source), place)
            matrices[place][source] = text_matrix(firings, n_features, aggregate_by=aggregate)
    return contrast_matrices(
        matrices[0],
        matrices[1],
        top_k,
        paired=paired,
        groups=(by_text[0], by_text[1]) if groups is None else groups,
        lookup=lookup,
        aggregate_by=aggregate,
        seed=seed,
        n_divisions=n_divisions,
        notes=[*_about_length(lengths, aggregate), *_about_copies(names, has_groups=groups is not None)],
    )


def _name(text: object) -> str:
    """What two texts have in common if, and only if, they are the same."""
    return text if isinstance(text, str) else json.dumps(text, sort_keys=True, default=repr)


def _about_length(lengths: Sequence[Sequence[int]], aggregate: str) -> Iterator[str]:
    """That the texts of one set are longer, which may make features stronger in one of them by itself."""
    tokens = np.array([*lengths[0], *lengths[1]], dtype=np.float64)
    longer = metrics.auroc(np.arange(tokens.size) < len(lengths[0]), tokens)
    if longer is not None and not longer.low <= 0.5 <= longer.high:
        means = [float(np.mean(of_set)) for of_set in lengths]
        yield (
            f"the texts of dataset {1 if longer.value > 0.5 else 2} are longer ({means[0]:.0f} tokens in the mean of"
            f" dataset 1, {means[1]:.0f} in dataset 2), and {_BY_LENGTH[aggregate]}"
        )


def _about_copies(names: Sequence[Sequence[str]], *, has_groups: bool) -> Iterator[str]:
    """How many texts are in both sets, and how many are there more than once."""
    both = len(set(names[0]) & set(names[1]))
    if both:
        yield f"{both:,} text{'s are' if both > 1 else ' is'} in both datasets"
    copies = sum(n - 1 for of_set in names for n in Counter(of_set).values())
    if copies and not has_groups:
        yield f"{copies:,} text{'s are copies' if copies > 1 else ' is a copy'} of another, and copies count as one"
