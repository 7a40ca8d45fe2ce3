"""A run as one pandas data frame: the flat columns of an export, and beside each score that of shuffled labels."""

from itertools import islice

import pandas as pd
import pyarrow as pa

from autointerp.export.flat import flat_row
from autointerp.export.items import ExportOptions, export_items, provenance
from autointerp.export.parquet import flat_types
from autointerp.records import FeatureFilter
from autointerp.store.reader import Reader

_ROWS_PER_BATCH = 10_000
# Those that know missing values; what is not named here is a float with NaN, or a moment with NaT.
_PANDAS_TYPES = {pa.int64(): pd.Int64Dtype(), pa.string(): pd.StringDtype()}


def feature_frame(reader: Reader, where: FeatureFilter) -> pd.DataFrame:
    """Features with their labels and scores, in the order of the features.

    Args:
        reader: Of the run's store.
        where: Only labels, and features without one, that pass.

    Returns:
        A row a label, and one a feature without a label; the columns of `flat_columns`, and `NAME_shuffled` for each
        scorer: the mean over the feature's shuffled labels.

    Raises:
        FilterError: If the filter asks for a name that the run does not know.
    """
    known = provenance(reader)
    schema = pa.schema(flat_types(known) | {f"{scorer}_shuffled": pa.float64() for scorer in known.scorers})
    shuffled = reader.shuffled_values(where)
    items = export_items(reader, ExportOptions(where), known)
    batches: list[pa.Table] = []
    while some := list(islice(items, _ROWS_PER_BATCH)):
        rows = []
        for item in some:
            feature = item.labelled.feature
            of_others = shuffled.get((feature.source_id, feature.feature_index), {})
            rows.append(flat_row(item, known) | {f"{scorer}_shuffled": v for scorer, v in of_others.items()})
        batches.append(pa.Table.from_pylist(rows, schema=schema))
    table = pa.concat_tables([schema.empty_table(), *batches])
    return table.to_pandas(types_mapper=_PANDAS_TYPES.get)
