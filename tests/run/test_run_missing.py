"""What a command says at its end of what it has not got, and its exit status."""

from pathlib import Path

import pytest

from autointerp import load_pipeline
from autointerp.cli import main
from autointerp.run.missing import Missing
from tests.loopback.server import Always, Call, LoopbackServer, Outcome, Say
from tests.run.planted import DEAD, RARE, Planted
from tests.run.prepared import WithContexts


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-0123456789")


def file_of(planted: Planted, folder: Path, url: str) -> Path:
    more = ["[explain]", 'explainer = "examples"', "[explain.model]", 'model = "m"', f'base_url = "{url}"']
    more += ["max_attempts = 1", "[score]", 'scorers = ["detection"]', "baseline = false"]
    path = folder / "missing.toml"
    path.write_text(planted.toml("missing", folder / "runs", *more), encoding="utf-8")
    return path


def end_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """The exit status of a command, and what it says on standard error."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0), capsys.readouterr().err


def refuses_ships(call: Call) -> Outcome:
    return Say("I see <<ship>> everywhere" if "<<ship>>" in call.user else '{"label": "something"}')


def test_what_a_model_did_not_answer_is_1_with_its_words_and_what_no_corpus_has_is_not(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with LoopbackServer(Always(refuses_ships)) as server:
        file = str(file_of(planted, tmp_path, server.openai_url))
        with_contexts(load_pipeline(file))
        status, said = end_of(capsys, "explain", file, "--features", f"1,{DEAD},{RARE}")
        assert status == 0
        assert "2 of 3 features without a label: 1 DeadFeature, 1 TooFewContexts" in said
        assert "DeadFeature: feature 3: it never fires in this corpus" in said
        assert "2 tell of features that this corpus can't label" in said
        for command in ("run", "score"):
            status, said = end_of(capsys, command, file, "--features", f"{DEAD},{RARE}")
            assert status == 0, "an array job's slice of features that can't be labelled is done"
            assert "2 of 2 features without a label: 1 DeadFeature, 1 TooFewContexts" in said
        status, said = end_of(capsys, "run", file, "--features", "0")
        assert status == 1, "the only feature that was asked for has no label, as the model gave none"
        assert "1 of 1 feature without a label: 1 ParseFailure" in said
        status, said = end_of(capsys, "explain", file, "--features", f"0-1,{DEAD}")
        assert status == 1
        assert "2 of 3 features without a label: 1 DeadFeature, 1 ParseFailure" in said
        assert "holds no JSON object that can be read); what came back: I see <<ship>> everywhere" in said
        assert "the same command tries 1 of them again" in said
        status, shown = end_of(capsys, "score", file, "--features", "0-1,6")
    assert status == 1, "one has no label, and one was never explained"
    assert "2 of 3 features without a label: 1 NotTried, 1 ParseFailure" in shown
    told = "m writes the labels, and no table [judge] names a model to judge them. The local judge compares words"
    assert told in shown
    with pytest.raises(SystemExit):
        main(["status", str(tmp_path / "runs" / "missing")])
    table = capsys.readouterr().out
    assert "I see <<ship>> everywhere" in " ".join(table.split())
    assert "The local judge compares words" in table


def test_what_is_found_out_about_a_feature_is_no_failure_of_the_run() -> None:
    def missing(error_type: str, stage: str = "score:fuzzing") -> Missing:
        return Missing(stage, error_type, n=2, n_retried=0, example=None)

    assert missing("NoRule", "explain").is_finding, "no rule fits, and none will"
    assert missing("NoTellingWords", "explain").is_finding
    assert not missing("Refusal", "explain").is_finding
    assert not missing("NoLabel", "explain").is_finding, "a file lacks it"

    assert missing("NoFalseMarks").is_finding, "it fires on every token, so that none can be marked falsely"
    assert missing("NoSilentContexts").is_finding
    assert not missing("AllUnanswered").is_finding
    assert not missing("OneClassOnly").is_finding, "its scorer may be at fault"


def test_where_all_is_there_nothing_is_said(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with LoopbackServer(Always(Say('{"label": "ships"}'))) as server:
        file = str(file_of(planted, tmp_path, server.openai_url))
        with_contexts(load_pipeline(file))
        status, said = end_of(capsys, "explain", file, "--features", "0-1")
    assert status == 0
    assert "label" not in said.partition("explain")[2]
