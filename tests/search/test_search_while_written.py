"""A run writes its store while eight other processes search it."""

import multiprocessing
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from queue import Empty

import pytest

from autointerp.records import FeatureFilter
from autointerp.search import engine as search_engine
from autointerp.search.engine import SearchEngine
from autointerp.search.indexes.update import update_index
from autointerp.store.reader import Reader
from autointerp.store.writer import Writer
from tests.search.large_store import RandomEmbedder, add_labels, large_store

N_READERS = 8
N_BEFORE, N_ADDED, N_TRANSACTIONS = 500, 25, 12
N_AFTER = N_BEFORE + N_ADDED * N_TRANSACTIONS


def read(run: Path, exact_below: int, is_over: Event, told: "multiprocessing.Queue[tuple[int, int, str]]") -> None:
    """Search until the writer has finished, and what it wrote is found; tell how often, how many, what failed.

    A search while another process extends the index is of the labels from before that.
    """
    engine = SearchEngine(Reader(run), RandomEmbedder(), exact_below=exact_below)
    n_searches, n_found, deadline = 0, 0, time.monotonic() + 600
    try:
        while True:
            was_over = is_over.is_set()
            n_found = len(engine.search("word1 word2", 10_000))
            assert len(engine.search("word7", 5, FeatureFilter(max_density=0.05))) == 5
            assert engine.neighbors(3)
            assert Reader(run).status()
            n_searches += 1
            if was_over and (n_found == N_AFTER or time.monotonic() > deadline):
                break
        told.put((n_searches, n_found, ""))
    except BaseException as error:
        told.put((n_searches, n_found, f"{type(error).__name__}: {error}"))
        raise


@pytest.mark.slow
def test_a_store_is_searched_by_eight_processes_while_a_run_writes_it(tmp_path: Path) -> None:
    """Half of them compare all labels, half go by the index."""
    run = large_store(tmp_path, N_BEFORE).parent
    update_index(Reader(run), RandomEmbedder.name)
    processes = multiprocessing.get_context("spawn")
    is_over, told = processes.Event(), processes.Queue()
    readers = [
        processes.Process(target=read, args=(run, exact_below, is_over, told))
        for exact_below in (10**9, 0)
        for _ in range(N_READERS // 2)
    ]
    for reader in readers:
        reader.start()
    try:
        writer = Writer(run)
        for first in range(N_BEFORE, N_AFTER, N_ADDED):
            add_labels(writer, first, first + N_ADDED)
            writer.set_stage("index", f"at {first}", "running")
            time.sleep(0.1)
        is_over.set()
        answers = [told.get(timeout=900) for _ in readers]
    except Empty:
        answers = []
    finally:
        is_over.set()
        for reader in readers:
            reader.join(60)
    assert [(n_found, failed) for _, n_found, failed in answers] == [(N_AFTER, "")] * N_READERS
    assert all(n_searches > 1 for n_searches, _, _ in answers)


def test_many_labels_are_read_again_only_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_engine, "MANY", 50)
    monkeypatch.setattr(search_engine, "_READ_AGAIN", 10**6)
    run = large_store(tmp_path, 50).parent
    engine = SearchEngine(Reader(run), RandomEmbedder())
    assert (len(engine.search("word1", 10_000)), engine.is_late) == (50, False)
    add_labels(Writer(run), 50, 60)
    assert (len(engine.search("word1", 10_000)), engine.is_late) == (50, True)
    fresh = SearchEngine(Reader(run), RandomEmbedder())
    assert (len(fresh.search("word1", 10_000)), fresh.is_late) == (60, False)
    monkeypatch.setattr(search_engine, "MANY", 1000)  # fewer are read again at once
    few = SearchEngine(Reader(run), RandomEmbedder())
    assert len(few.search("word1", 10_000)) == 60
    add_labels(Writer(run), 60, 65)
    assert (len(few.search("word1", 10_000)), few.is_late) == (65, False)
