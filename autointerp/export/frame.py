"""A run as one pandas data frame: the flat columns of an export, and beside each score that of shuffled labels."""

from collections.abc import Sequence

import pandas as pd
import pyarrow as pa

from autointerp.records import FeatureFilter
from autointerp.store.export_rows.columns import Column, corrected_columns, flat_columns
from autointerp.store.reader import Reader

# Those that know missing values; what is not named here is a float with NaN, or a moment with NaT.
_PANDAS_TYPES = {pa.int64(): pd.Int64Dtype(), pa.string(): pd.StringDtype(), pa.bool_(): pd.BooleanDtype()}


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
    scorers = reader.scorers()
    schema = pa.schema({name: column.kind for name, column in _columns(scorers).items()})
    table = pa.concat_tables([schema.empty_table(), *reader.export_rows(_columns, where)])
    shuffled = reader.shuffled_values(where)
    features = list(zip(table["source_id"].to_pylist(), table["feature_index"].to_pylist(), strict=True))
    for scorer in scorers:
        values = [shuffled.get(feature, {}).get(scorer) for feature in features]
        corrected = table.schema.get_field_index(f"{scorer}_corrected")
        table = table.add_column(corrected, f"{scorer}_shuffled", pa.array(values, pa.float64()))
        if table[f"{scorer}_corrected"].null_count == table.num_rows:
            table = table.drop_columns(list(corrected_columns([scorer])))
    return table.to_pandas(types_mapper=_PANDAS_TYPES.get)


def _columns(scorers: Sequence[str]) -> dict[str, Column]:
    return flat_columns(scorers) | corrected_columns(scorers)
