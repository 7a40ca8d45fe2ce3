"""Doses of a run's features: found once, kept where they can be, and the same for whoever asks."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest

import autointerp
from autointerp import Client
from autointerp.errors import SearchError, SubjectError, UnknownFeatureError
from autointerp.library.run import Run, open_run
from autointerp.live.dose import USUAL_METHOD
from autointerp.records.dose import Dose
from autointerp.run.dose_prompts import draw_prompts, mixed
from autointerp.run.doses import Doses, digest_of, draw_texts
from autointerp.store.doses import read_doses
from tests.run.planted import DEAD, RARE

FEATURES = [7, DEAD, RARE]
# Fewer tokens than usual: what is found on them is of no matter here.
METHOD = replace(USUAL_METHOD, n_tokens=256, n_few=128)


@pytest.fixture(scope="module")
def folder(planted_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run, for the doses that its store is given."""
    copy = tmp_path_factory.mktemp("doses") / "demo"
    shutil.copytree(planted_runs / "runs/demo", copy)
    return copy


def doses_of(run: Run, features: list[int], method: object = METHOD) -> list[Dose]:
    assert method is METHOD or isinstance(method, type(METHOD))
    return Doses(run.reader, run.live, method).of([run.reader.feature(index) for index in features])


@pytest.fixture(scope="module")
def found(folder: Path) -> list[Dose]:
    return doses_of(open_run(folder), FEATURES)


def test_a_dose_stands_beside_the_largest_activation_and_the_streams_length(found: list[Dose], folder: Path) -> None:
    piano, dead, rare = found
    assert [dose.feature_index for dose in found] == FEATURES
    assert piano.unit is not None
    assert piano.kl_p95 == pytest.approx(1, abs=METHOD.tolerance)
    largest = open_run(folder).reader.feature(7).max_activation
    assert piano.of_max_activation == pytest.approx(piano.unit / largest)
    assert piano.of_stream_norm == pytest.approx(piano.unit, rel=0.1), "directions and the stream are about as long"
    assert (dead.unit, dead.of_max_activation) == (None, None)
    assert dead.why == "its direction has no length: adding it changes nothing"
    assert rare.unit is not None


def test_what_was_found_is_kept_and_needs_no_model(found: list[Dose], folder: Path, tmp_path: Path) -> None:
    kept = read_doses(folder / "store.duckdb", found[0].source_id, FEATURES, METHOD.fingerprint, 5.0)
    assert [kept[index] for index in FEATURES] == found
    shutil.copy(folder / "store.duckdb", tmp_path / "store.duckdb")
    assert doses_of(open_run(tmp_path), [RARE, 7, RARE]) == [found[2], found[0], found[2]]


def test_the_runs_digest_does_not_change_by_it(found: list[Dose], folder: Path, planted_runs: Path) -> None:
    assert found
    assert open_run(folder).reader.content_digest() == open_run(planted_runs / "runs/demo").reader.content_digest()


def test_what_another_method_finds_stands_beside(found: list[Dose], folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "demo")
    other = replace(METHOD, nats=0.5)
    run = open_run(tmp_path / "demo")
    (half,) = doses_of(run, [7], other)
    assert half.kl_p95 == pytest.approx(0.5, abs=0.5 * METHOD.tolerance)
    assert half.unit is not None
    assert found[0].unit is not None
    assert half.unit < found[0].unit
    rows = run.reader.sql("SELECT feature_index, method FROM doses").rows  # other tests have had theirs found
    assert {(7, other.fingerprint), *((index, METHOD.fingerprint) for index in FEATURES)} <= set(rows)
    assert len(set(rows)) == len(rows)
    assert doses_of(run, [7]) == found[:1]


def test_where_the_store_is_held_by_another_doses_are_found_all_the_same(
    found: list[Dose], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autointerp.run.doses._WAIT_S", 0.05)
    run = open_run(folder)
    live, ours = run.live, Doses(run.reader, run.live, replace(METHOD, n_tokens=128))
    feature = run.reader.feature(7)
    with duckdb.connect(str(folder / "store.duckdb"), read_only=True):
        (dose,) = ours.of([feature])
        assert ours.of([feature]) == [dose], "found once, though it could not be kept"
    assert dose.unit is not None
    assert (live.seed, len(read_doses(run.reader.path, dose.source_id, [7], METHOD.fingerprint, 5.0))) == (0, 1)


def test_threads_that_ask_together_have_a_dose_found_once(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(folder, tmp_path / "demo")
    run = open_run(tmp_path / "demo")
    ours = Doses(run.reader, run.live, replace(METHOD, n_tokens=128))
    features = [run.reader.feature(index) for index in (7, 1)]
    caplog.set_level("INFO", "autointerp.run.doses")
    with ThreadPoolExecutor(3) as threads:
        first, *others = threads.map(lambda _: ours.of(features), range(3))
    assert others == [first] * 2
    assert caplog.messages == ["finding the doses of 2 features of planted@0-res-12"]


def test_texts_are_of_different_documents_and_those_left_out_come_after(folder: Path) -> None:
    live = open_run(folder).live
    first, later = (draw_texts(live.blocks, live.seed, METHOD, n_skipped) for n_skipped in (0, METHOD.n_tokens))
    assert METHOD.n_tokens <= first.counted.sum() < METHOD.n_tokens + METHOD.longest_text
    rows = [tuple(row) for texts in (first, later) for row in texts.token_ids.tolist()]
    assert len(set(rows)) == len(rows)
    assert digest_of(first) == digest_of(draw_texts(live.blocks, live.seed, METHOD)) != digest_of(later)
    everything = draw_texts(live.blocks, live.seed, replace(METHOD, n_tokens=10**6))
    assert len(everything.token_ids) == live.blocks.n_blocks, "a corpus with fewer tokens gives what it has"
    short = draw_texts(live.blocks, live.seed, replace(METHOD, longest_text=5))
    assert short.token_ids.shape[1] == 5
    assert np.array_equal(short.counted.sum(axis=1) > 0, np.ones(len(short.counted), dtype=bool))


def test_doses_that_are_known_from_before_count_as_found_on_the_corpus() -> None:
    assert USUAL_METHOD.fingerprint == "444649d26e8fd309e3d61be94aeba2afb4b251880cce79472c95561cf3a0ab1a"
    assert replace(USUAL_METHOD, texts="mixed").fingerprint != USUAL_METHOD.fingerprint


def test_doses_on_prompts_are_told_from_those_on_the_corpus(folder: Path, found: list[Dose]) -> None:
    run = open_run(folder)
    run.dose_texts = "corpus"
    of_corpus = run.doses([7, 1])
    run.dose_texts = "mixed"
    of_both = run.doses([7, 1])
    assert [dose.found_on for dose in (*of_corpus, *of_both)] == ["corpus"] * 2 + ["mixed"] * 2
    for one, other in zip(of_corpus, of_both, strict=True):
        assert one.unit is not None
        assert other.unit is not None
        assert abs(np.log(one.unit / other.unit)) > 0.01, "else it is of no matter"
    again = open_run(folder)
    assert again.doses([7, 1]) == of_corpus
    again.dose_texts = "mixed"
    assert again.doses([7, 1]) == of_both
    assert "live_subject" not in vars(again.live._session), "both are kept"


def test_prompts_are_half_of_the_tokens_also_of_the_first_few(folder: Path) -> None:
    live_run = open_run(folder).live
    live = live_run._session.live_subject
    said = [
        f"{word} river ship" for word in ("the", "a", "our", "some", "red", "blue", "green", "now", "up", "out")
    ] * 6
    half = replace(METHOD, n_tokens=120, longest_text=12)
    prompts = draw_prompts(live, said, 0, half)
    assert 120 <= prompts.counted.sum() < 125
    for ids, mask, counted in zip(prompts.token_ids, prompts.mask, prompts.counted, strict=True):
        pieces = live.pieces.pieces(ids[counted].tolist())
        assert "".join(pieces[:-1]).strip().endswith("river ship")
        assert counted[mask][-1], "what foretells the answer"
    corpus = draw_texts(live_run.blocks, 0, half)
    both = mixed(corpus, prompts)
    rows = {
        tuple(row[kept].tolist()) for of in (corpus, prompts) for row, kept in zip(of.token_ids, of.mask, strict=True)
    }
    assert {tuple(row[kept].tolist()) for row, kept in zip(both.token_ids, both.mask, strict=True)} == rows
    assert both.counted.sum() == corpus.counted.sum() + prompts.counted.sum()
    is_prompt = np.array(
        [
            tuple(row[kept].tolist())
            in {tuple(r[k].tolist()) for r, k in zip(prompts.token_ids, prompts.mask, strict=True)}
            for row, kept in zip(both.token_ids, both.mask, strict=True)
        ]
    )
    counts, n_few = both.counted.sum(axis=1), 0
    few = np.cumsum(counts) <= 100
    n_few = int(counts[few & is_prompt].sum())
    assert 30 <= n_few <= 70


def test_a_model_without_a_chat_template_has_no_prompts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = open_run(folder)
    run.dose_texts = "mixed"
    monkeypatch.setattr(run.live._session.live_subject.sources.subject.tokenizer, "chat_template", None)
    with pytest.raises(SubjectError, match="chat template"):
        run.doses([3])


def test_a_kind_of_text_that_there_is_not_is_an_error(folder: Path) -> None:
    run = open_run(folder)
    vars(run)["dose_texts"] = "prompts"
    with pytest.raises(SearchError, match="there is no kind of text to find doses on 'prompts'"):
        run.doses([7])


def test_a_client_asks_for_doses_as_it_asks_for_features(planted_runs: Path) -> None:
    client: Client = autointerp.open(planted_runs / "runs/demo")
    dead, piano = client.features.doses(client.features.lookup([DEAD, 7]))
    assert (dead.feature_index, piano.feature_index) == (DEAD, 7)
    assert client.features.doses(7) == client.features.doses("planted@0-res-12:7") == client.run.doses([7]) == [piano]
    assert client.features.doses([]) == []
    with pytest.raises(UnknownFeatureError, match="has no feature 12"):
        client.features.doses([7, 12])


def test_a_run_whose_model_has_no_head_says_so(
    planted_runs: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autointerp.subject.logits._NORMS", {})
    run = open_run(planted_runs / "runs/demo")
    with pytest.raises(SubjectError, match="a model of type gpt2 has no language-model head"):
        doses_of(run, [0])


def test_a_rough_dose_is_close_and_not_kept(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "demo")
    run = open_run(tmp_path / "demo")
    other = replace(METHOD, nats=0.7)  # of which the store has none
    doses = Doses(run.reader, run.live, other)
    records = [run.reader.feature(7), run.reader.feature(RARE)]
    rough = doses.of(records, roughly=True)
    assert [dose.n_tokens for dose in rough] == [METHOD.n_few] * 2
    assert doses.of(records, roughly=True) == rough
    assert not read_doses(run.reader.path, rough[0].source_id, [7, RARE], other.fingerprint, 5.0)
    exact = doses.of(records)
    assert [dose.unit for dose in rough] == pytest.approx([dose.unit for dose in exact], rel=0.3)
    assert doses.of(records, roughly=True) == rough, "whoever asks when finds the same"
