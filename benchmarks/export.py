"""Exports of a store with a hundred thousand and a million labels: time, CPU, memory and size of every format.

    python -m benchmarks.export [--labels 100000 1000000] [--tokens 5] [--formats csv parquet …] [--store FOLDER]

The stores are made, by SQL, with four scores a label and a shuffled label's detection score beside each tenth. A
feature has so many tokens that it fires on, as many that follow, and logits; a score's detail has some 300 characters.
`--tokens 22` is about what the demo keeps of a feature. Each export is a process of its own, timed from its start to
its end, the program's import included; memory is its largest resident set, as the kernel accounts it.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import duckdb

from autointerp.export.registry import FORMATS
from autointerp.records import SourceRecord
from autointerp.store.results import RunRecord
from autointerp.store.writer import Writer

_SOURCE = "made@0-res"
_WORDS = "river months error handling names of keys in a dictionary winter weather closing brackets after numbers"
_MAKE = """
CREATE MACRO word(i) AS list_extract(string_split('{words}', ' '), 1 + (hash(i) % {n_words})::BIGINT);
CREATE MACRO unit(i, salt) AS (hash(i * 1000003 + salt) % 1000000) / 1e6;
INSERT INTO features BY NAME SELECT '{source}' AS source_id, i::INTEGER AS feature_index,
    (1e6 * unit(i, 1) * unit(i, 2))::BIGINT AS n_active, unit(i, 1) * unit(i, 2) AS density,
    10 * unit(i, 3) AS max_activation, 3 * unit(i, 4) AS mean_activation,
    [(x * 7)::BIGINT for x in range(12)] AS histogram, 'ok' AS status,
    [{{'token': word(i * 7 + x), 'n_active': 30 - x, 'mean_activation': unit(i, x), 'n_occurrences': 100 + x}}
        for x in range({tokens})] AS top_tokens, 0 AS top_tokens_n_missed,
    [{{'token': word(i * 5 + x), 'n_peaks': 12 - x % 9, 'lift': 1 + unit(i, x + 50)}} for x in range({tokens})]
        AS following_tokens, 100 AS n_sampled_peaks, 90 AS n_followed_peaks,
    [{{'token': word(i + x), 'logit': unit(i, x + 80)}} for x in range({tokens})] AS top_logits,
    [{{'token': word(i - x), 'logit': -unit(i, x + 90)}} for x in range({tokens})] AS bottom_logits
FROM range({n}) t(i);
CREATE TEMP TABLE made AS SELECT i, uuid()::VARCHAR AS explanation_id, NULL::INTEGER AS label_from FROM range({n}) t(i)
UNION ALL SELECT i, uuid()::VARCHAR, ((i + 1) % {n})::INTEGER FROM range(0, {n}, 10) t(i);
INSERT INTO explanations BY NAME SELECT explanation_id, '{source}' AS source_id, i::INTEGER AS feature_index,
    array_to_string([word(i * 31 + x) for x in range(6)], ' ') AS label,
    if(label_from IS NULL, 'examples', 'shuffled') AS explainer, 'a-model' AS model, repeat('a', 64) AS prompt_sha256,
    unit(i, 5) / 1000 AS cost_usd, TIMESTAMP '2026-11-01' + to_seconds(i) AS created_at, 'e' AS fingerprint, label_from,
    'input' AS side, 20 AS n_contexts, NULL AS excludes, '{{}}' AS detail
FROM made ORDER BY i;
INSERT INTO scores BY NAME SELECT explanation_id, scorer, 'a-judge' AS judge, 'balanced accuracy' AS metric,
    0.4 + 0.6 * unit(i, ord + 10) AS value, 0.3 + 0.6 * unit(i, ord + 10) AS ci_low,
    0.4 + 0.6 * unit(i, ord + 10) AS ci_high, 40 AS n_trials, 0 AS n_unanswered,
    printf('{{"auroc": %.6f, "f1": %.6f, "n_negative": 20, "n_positive": 20, "sensitivity": %.6f, '
        '"sensitivity_by_quantile": {{"0": 0.5, "1": 1.0, "2": 0.5, "3": 1.0, "4": 0.0}}, "sensitivity_interval": '
        '{{"high": 0.8734852778368507, "low": 0.1265147}}, "side": "input", "specificity": %.6f, "undefined": {{}}}}',
        unit(i, 20), unit(i, 21), unit(i, 22), unit(i, 23)) AS detail,
    '{source}' AS source_id, i::INTEGER AS feature_index, 's-' || scorer AS fingerprint
FROM made CROSS JOIN unnest(['detection', 'embedding', 'fuzzing', 'recall']) WITH ORDINALITY s(scorer, ord)
WHERE label_from IS NULL OR scorer = 'detection' ORDER BY i;
"""


def make_store(folder: Path, n_labels: int, tokens: int) -> None:
    """Make a store of one source with so many features, all labelled and scored."""
    writer = Writer(folder)
    writer.set_run(RunRecord("made", {}, "benchmark", datetime(2026, 11, 1, tzinfo=UTC)))
    writer.add_source(SourceRecord(_SOURCE, "made", "blocks.0.hook_resid_post", "coder", n_labels, "made", 10**6))
    words = _WORDS.split()
    with duckdb.connect(str(folder / "store.duckdb")) as connection:
        text = _MAKE.format(source=_SOURCE, n=n_labels, tokens=tokens, words=" ".join(words), n_words=len(words))
        connection.execute(text)


def export(folder: Path, format_name: str, target: Path) -> None:
    """Export once, as a process of its own does."""
    from autointerp import export_run

    export_run(folder, target, format_name)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the stores, export each in each format, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--tokens", type=int, default=5, help="of each list of a feature")
    parser.add_argument("--formats", nargs="+", default=list(FORMATS), choices=list(FORMATS))
    parser.add_argument("--store", type=Path, help="where stores are kept, and are found again")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.one:
        export(Path(chosen.one[0]), chosen.one[1], Path(chosen.one[2]))
        return
    with tempfile.TemporaryDirectory() as temporary:
        kept = chosen.store or Path(temporary)
        print("| labels | format | seconds | CPU seconds | peak memory | written |\n|---|---|---|---|---|---|")
        for n_labels in chosen.labels:
            store = kept / f"{n_labels}-{chosen.tokens}"
            if not store.exists():  # in a process of its own: a child counts the memory of what it was forked from
                maker = get_context("spawn").Process(target=make_store, args=(store, n_labels, chosen.tokens))
                maker.start()
                maker.join()
            for format_name in chosen.formats:
                target = Path(temporary) / f"exported.{format_name}"
                print(f"| {n_labels:,} | {format_name} | {_measured(store, format_name, target)} |", flush=True)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def _measured(store: Path, format_name: str, target: Path) -> str:
    command = [sys.executable, "-m", "benchmarks.export", "--one", str(store), format_name, str(target)]
    began = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the export to {format_name} ended with {process.returncode}")
    files = [target] if target.is_file() else [file for file in target.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    cpu = usage.ru_utime + usage.ru_stime
    return f"{seconds:.1f} | {cpu:.1f} | {usage.ru_maxrss / 1024:.0f} MiB | {size / 1e6:,.0f} MB"


if __name__ == "__main__":
    main()
