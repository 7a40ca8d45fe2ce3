"""SAEBench's results of its evaluation `autointerp`: a folder with one JSON file a source.

The score of a label is that of our scorer `detection`. It is balanced accuracy, and half of what is asked are hard
negatives, where SAEBench has accuracy on 14 windows of which 10 are silent: labels that say nothing get .5 here, and by
always saying no .71 there. So the two compare coders and explainers within one program, not across them.
"""

import json
import re
from array import array
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, stdev
from typing import Any

import pyarrow as pa

from autointerp.errors import ExportError
from autointerp.export.options import ExportFormat, Order
from autointerp.identity import stable_uuid
from autointerp.records import SourceRecord
from autointerp.score.scorers.detection import DetectionScorer
from autointerp.store.export_rows.columns import ARE_YES, FEATURE_INDEX, LABEL, SAID_YES, Column, score_column

_SCORER = DetectionScorer.name
_IN_NO_NAME = re.compile(r"[^\w.-]")


def write_saebench(order: Order) -> int:
    """Write the files, and return the number of labels in them."""
    if _SCORER not in order.reader.scorers():
        raise ExportError(f"no label has a score of {_SCORER!r}", "score by it, or export another format")
    n_labels = 0
    for source in order.reader.sources():
        if order.options.where.sources is None or source.source_id in order.options.where.sources:
            n_labels += _write_source(order, source)
    return n_labels


def _write_source(order: Order, source: SourceRecord) -> int:
    values, seen, metric = array("d"), -1, ""
    path = order.path / f"{_IN_NO_NAME.sub('_', source.source_id)}_eval_results.json"
    where = replace(order.options.where, sources=[source.source_id])
    with path.open("w", encoding="utf-8") as file:
        file.write('{"eval_result_unstructured": {')
        for table in order.reader.export_rows(_columns, where):
            for row in table.to_pylist():
                latent, value, metric = row["latent"], row["score"], row.pop("metric") or metric
                if value is None or latent == seen:  # of several labels the first
                    continue
                separator = ", " if values else ""
                row = {name.replace("_", " ") if name == "correct_seqs" else name: cell for name, cell in row.items()}
                file.write(f'{separator}"{latent}": {json.dumps(row, ensure_ascii=False)}')
                values.append(value)
                seen = latent
        file.write(f"}}, {json.dumps(_results(order, source, values, metric), ensure_ascii=False)[1:]}\n")
    return len(values)


def _columns(scorers: Sequence[str]) -> dict[str, Column]:
    return {
        "latent": FEATURE_INDEX,
        "explanation": LABEL,
        "predictions": SAID_YES,
        "correct_seqs": ARE_YES,
        "score": Column(pa.float64(), score_column(scorers, _SCORER, "value")),
        "metric": Column(pa.string(), score_column(scorers, _SCORER, "metric")),
    }


def _results(order: Order, source: SourceRecord, values: Sequence[float], metric: str) -> dict[str, Any]:
    """All but what is of single features."""
    run = order.reader.run()
    program = f"autointerp {run.program_version}" if run else "autointerp"
    release, _, sae_id = source.coder.rpartition("/")
    return {
        "eval_type_id": "autointerp",
        "eval_config": {
            "model_name": source.model,
            "n_latents": len(values),
            "dataset_name": source.corpus,
            "total_tokens": source.n_tokens,
            "scoring": True,
            "metric": metric,
        },
        "eval_id": stable_uuid(f"saebench/{source.source_id}/{run.name if run else ''}"),
        "datetime_epoch_millis": int(run.created_at.timestamp() * 1000) if run else 0,
        "eval_result_metrics": {
            "autointerp": {
                "autointerp_score": fmean(values) if values else None,
                "autointerp_std_dev": stdev(values) if len(values) > 1 else None,
            }
        },
        "eval_result_details": [],
        "sae_bench_commit_hash": program,
        "sae_lens_id": sae_id,
        "sae_lens_release_id": release or source.model,
        "sae_lens_version": None,
        "sae_cfg_dict": {"model_name": source.model, "hook_name": source.hook, "d_sae": source.n_features},
    }


FORMAT = ExportFormat(write_saebench, is_folder=True, has_baselines=False)
