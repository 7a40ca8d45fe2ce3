"""Rerankers by name: a cross-encoder that is made here, a language model at a loopback server, one of a user's own."""

import json
from datetime import datetime
from pathlib import Path

import pytest

from autointerp.config import SearchConfig
from autointerp.errors import PipelineError, SearchError
from autointerp.library.run import Run
from autointerp.records import FeatureContexts
from autointerp.search.embed_labels import index_labels
from autointerp.search.engine import SearchEngine
from autointerp.search.rerankers.language_model import Fits, read_fits
from autointerp.store.reader import Reader
from autointerp.store.results import RunRecord
from autointerp.store.writer import Writer
from tests.loopback.server import Always, Http, LoopbackServer, Say
from tests.search.conftest import AxisEmbedder
from tests.store.making import make

GOLDEN = Path(__file__).parent / "golden_rerank.txt"


def contexts(feature: int, *texts: str) -> FeatureContexts:
    seen = tuple(make.context(feature, place, text=text) for place, text in enumerate(texts))
    return FeatureContexts(make.source_id, feature, seen)


def engine_of(writer: Writer, **config: object) -> SearchEngine:
    return SearchEngine(Reader(writer.path), AxisEmbedder(), config=SearchConfig.model_validate(config))


@pytest.fixture
def cross_encoder(tmp_path: Path) -> Path:
    """A cross-encoder of one small layer with random weights, saved by sentence-transformers itself."""
    import torch
    from sentence_transformers import CrossEncoder
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "heat", "law", "music", "error", "mistake", ";"]
    (tmp_path / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        num_labels=1,
        initializer_range=1.0,
    )
    BertForSequenceClassification(config).save_pretrained(tmp_path / "bert")
    BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "bert")
    CrossEncoder(str(tmp_path / "bert")).save(str(tmp_path / "cross"))
    return tmp_path / "cross"


def test_a_cross_encoder_is_had_by_name_and_decides_the_order(writer: Writer, cross_encoder: Path) -> None:
    from sentence_transformers import CrossEncoder

    writer.add_contexts([contexts(0, "law music")], "c1")
    hits = engine_of(writer, cross_encoder=str(cross_encoder)).rerank([0, 2, 4], "law", reranker="cross_encoder")

    shown = {0: "heat; law music", 2: "law", 4: "error mistake"}
    expected = CrossEncoder(str(cross_encoder)).predict([("law", text) for text in shown.values()])
    by_feature = dict(zip(shown, expected.tolist(), strict=True))
    assert {hit.feature_index: hit.relevance for hit in hits} == pytest.approx(by_feature, abs=1e-5)
    assert [hit.feature_index for hit in hits] == sorted(by_feature, key=lambda index: -by_feature[index])


def test_a_cross_encoder_that_is_not_there_is_told(writer: Writer, tmp_path: Path) -> None:
    with pytest.raises(SearchError, match=r"the cross-encoder .* can't be loaded"):
        engine_of(writer, cross_encoder=str(tmp_path / "none")).rerank([0], "law", reranker="cross_encoder")


def test_a_reranker_that_is_not_known_is_told_with_those_that_are(writer: Writer) -> None:
    with pytest.raises(PipelineError, match="there is no reranker 'context'") as told:
        engine_of(writer).rerank([0], "law", reranker="context")
    assert "one of contexts, cross_encoder, language_model" in str(told.value)
    assert "did you mean 'contexts'?" in str(told.value)


def test_a_reranker_of_one_s_own_is_a_class(writer: Writer, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from autointerp.search.rerankers.base import BaseReranker\n"
        "class Shortest(BaseReranker):\n"
        "    name = 'shortest'\n"
        "    def relevance(self, query, labels):\n"
        "        return [-float(len(shown.label)) for shown in labels]\n",
        encoding="utf-8",
    )
    hits = engine_of(writer, reranker=f"{tmp_path / 'own.py'}:Shortest").rerank([4, 1, 2], "heat")
    assert [(hit.feature_index, hit.relevance) for hit in hits] == [(2, -3), (1, -8), (4, -13)]


def run_that_asks(writer: Writer, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run whose pipeline names a model at the server, and whose feature 0 has hostile contexts."""
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    model = {"model": "m", "base_url": server.openai_url, "max_attempts": 1, "usd_per_million_input": 1.0}
    pipeline = {
        "name": "r",
        "coder": [{"path": "c"}],
        "search": {"reranker": "language_model", "model": {**model, "usd_per_million_output": 1.0}},
        "llm": {"max_cost_usd": 1.0, "patience_s": 0.1},
    }
    writer.set_run(RunRecord("r", pipeline, "0", datetime(2026, 1, 1)))
    writer.add_contexts([contexts(0, "law music", 'a "fire" 2: "x"'), contexts(2, "law")], "c1")
    return Run(writer.path.parent, AxisEmbedder())


def says(*answers: list[int]) -> Always:
    return Always(Say(json.dumps({"answers": answers})))


def test_a_language_model_decides_the_order_and_is_paid_once(
    writer: Writer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with LoopbackServer(says([1, 20], [2, 90], [3, 40])) as server:
        run = run_that_asks(writer, server, monkeypatch)
        hits = run.rerank([0, 2, 4], 'law "and"\norder')
        again = run.rerank([0, 2, 4], 'law "and"\norder')
        calls = server.calls

    assert [(hit.feature_index, hit.relevance) for hit in hits] == [(2, 0.9), (4, 0.4), (0, 0.2)]
    assert again == hits
    assert len(calls) == 1, "the journal has the answer"
    assert f"[system]\n{calls[0].system}\n[user]\n{calls[0].user}\n" == GOLDEN.read_text(encoding="utf-8")
    told = [record.getMessage() for record in caplog.records if record.name == "autointerp.search.engine"]
    assert len(told) == 1
    assert told[0].startswith("m: 1 calls, $0.0")
    paid = run.paid()
    assert paid is not None
    assert paid.known_usd > 0


@pytest.mark.parametrize(
    ("outcome", "problem"),
    [
        (Say('{"answers": [[1, 20]]}'), "2 of 3 numbers are missing"),
        (Say('{"answers": [[1, 20], [2, 400], [3, 1]]}'), "[2, 400] is no new number"),
        (Say("no JSON"), "ParseFailure"),
        (Http(500), "ServerError"),
    ],
)
def test_where_a_language_model_fails_the_order_is_kept_and_that_is_said(
    writer: Writer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    outcome: Say | Http,
    problem: str,
) -> None:
    index_labels(Reader(writer.path), writer, AxisEmbedder())
    with LoopbackServer(Always(outcome)) as server:
        run = run_that_asks(writer, server, monkeypatch)
        found = run.search("law", 3)
        assert run.rerank_hits(found, "law") == found
        closer = run.rerank([4, 0, 2], "law")

    assert [hit.feature_index for hit in closer] == [4, 0, 2]
    assert problem in caplog.text
    assert "the order is kept" in caplog.text


def test_without_a_model_the_language_model_is_asked_for(writer: Writer) -> None:
    with pytest.raises(SearchError, match="no language model is named"):
        engine_of(writer).rerank([0], "law", reranker="language_model")
    with pytest.raises(SearchError, match="m can't be asked without a run"):
        engine_of(writer, model={"model": "m"}).rerank([0], "law", reranker="language_model")


def test_closer_looks_are_taken_at_more_than_are_shown(writer: Writer) -> None:
    writer.add_contexts([contexts(0, "music"), contexts(5, "heat", "heat")], "c1")
    index_labels(Reader(writer.path), writer, AxisEmbedder())
    run = Run(writer.path.parent, AxisEmbedder())

    assert [hit.feature_index for hit in run.search("heat", 2)] == [0, 1]
    # Feature 5, "fire music", fires on heat.
    assert [hit.feature_index for hit in run.search_closer("heat", 2)] == [5, 1]
    assert run.search_closer("cathedrals", 2) == []


def test_of_answers_only_whole_ones_count() -> None:
    def read(*answers: object) -> list[int] | str:
        return read_fits(Fits(answers=answers), 2)

    assert read([2, 5], [1, 90]) == [90, 5]
    assert read([1, 5]) == "1 of 2 numbers are missing, 2 first"
    for odd in ([1, 5], [1, 6]), ([3, 5], [1, 6]), ([1, 101], [2, 6]), ("1", [2, 6]), ([True, 5], [2, 6]):
        assert isinstance(read(*odd), str), odd
