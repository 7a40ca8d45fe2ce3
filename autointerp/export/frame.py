"""A run as one pandas data frame: the flat columns of an export, and beside each score that of shuffled labels."""

from itertools import islice

import pandas as pd
import pyarrow as pa

from autointerp.export.flat import flat_row
from autointerp.export.items import ExportOptions, export_items, provenance
from autointerp.export.parquet import flat_types
from autointerp.records import FeatureFilter, Score
from autointerp.store.reader import Reader

_ROWS_PER_BATCH = 10_000
_CORRECTED = ("_corrected", "_corrected_ci_low", "_corrected_ci_high")
# Those that know missing values; what is not named here is a float with NaN, or a moment with NaT.
_PANDAS_TYPES = {pa.int64(): pd.Int64Dtype(), pa.string(): pd.StringDtype()}


def feature_frame(reader: Reader, where: FeatureFilter) -> pd.DataFrame:
    """Features with their labels and scores, in the order of the features.

    Args:
        reader: Of the run's store.
        where: Only labels, and features without one, that pass.

    Returns:
        A row a label, and one a feature without a label; the columns of `flat_columns`, and `NAME_shuffled` for each
        scorer: the mean over the feature's shuffled labels. For a scorer that any score of is corrected for the judge's
        errors, also `NAME_corrected`, `NAME_corrected_ci_low` and `NAME_corrected_ci_high`.

    Raises:
        FilterError: If the filter asks for a name that the run does not know.
    """
    known = provenance(reader)
    own = [f"{scorer}{end}" for scorer in known.scorers for end in ("_shuffled", *_CORRECTED)]
    schema = pa.schema(flat_types(known) | dict.fromkeys(own, pa.float64()))
    shuffled = reader.shuffled_values(where)
    items = export_items(reader, ExportOptions(where), known)
    batches: list[pa.Table] = []
    while some := list(islice(items, _ROWS_PER_BATCH)):
        rows = []
        for item in some:
            feature = item.labelled.feature
            of_others = shuffled.get((feature.source_id, feature.feature_index), {})
            row = flat_row(item, known) | {f"{scorer}_shuffled": v for scorer, v in of_others.items()}
            for score in item.labelled.scores:
                row |= _corrected(score)
            rows.append(row)
        batches.append(pa.Table.from_pylist(rows, schema=schema))
    table = pa.concat_tables([schema.empty_table(), *batches])
    for scorer in known.scorers:
        if table[f"{scorer}_corrected"].null_count == table.num_rows:
            table = table.drop_columns([f"{scorer}{end}" for end in _CORRECTED])
    return table.to_pandas(types_mapper=_PANDAS_TYPES.get)


def _corrected(score: Score) -> dict[str, float]:
    """A score without the judge's errors, where it has that (`score.calibration`)."""
    value, limits = score.detail.get("corrected"), score.detail.get("corrected_interval")
    if value is None or limits is None:
        return {}
    return dict(
        zip((f"{score.scorer}{end}" for end in _CORRECTED), (value, limits["low"], limits["high"]), strict=True)
    )
