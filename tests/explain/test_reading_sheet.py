"""The sheet on which people read labels: what it shows, what it hides, and how what they wrote is counted."""

import pytest

from autointerp.records import FeatureContexts
from benchmarks.reading_sheet import Feature, count_lines, draw, read_verdicts, sheet_lines
from tests.loopback.contexts import SOURCE, context

N_FEATURES = 40


def contexts(n_features: int = N_FEATURES) -> dict[int, FeatureContexts]:
    def of(feature: int) -> FeatureContexts:
        shown = [context("learnt from=1.0", split="explain", feature_index=feature)]
        held_out = [
            context(f"text{i} key=1.{i:02} end", split="score", feature_index=feature, block_index=i) for i in range(20)
        ]
        silent = context("nothing here", kind="silent_random", split="score", feature_index=feature)
        return FeatureContexts(SOURCE, feature, (*shown, *held_out, silent))

    return {feature: of(feature) for feature in range(n_features)}


def two_runs(n_features: int = N_FEATURES) -> list[dict[int, str]]:
    return [{f: f"{word} {f}" for f in range(n_features)} for word in ("first", "second")]


def key_of(features: list[Feature]) -> dict[str, dict[str, tuple[int, ...]]]:
    return {str(f.feature_index): dict(zip(f.names, f.runs, strict=True)) for f in features}


def filled_in(features: list[Feature], verdicts: dict[str, str]) -> str:
    """The sheet of a reader who thinks so of a label by its first word."""
    lines = []
    says: dict[str, str] = {}
    for line in "\n".join(sheet_lines(features)).splitlines():
        name, _, text = line.partition(": ")
        if line.endswith(" is:"):
            line += f" {verdicts[says[line.removesuffix(' is:')]]}"
        elif name in ("A", "B", "A and B"):
            says[name] = text.split()[0]
        lines.append(line)
    return "\n".join(lines)


def test_a_sheet_shows_twelve_held_out_contexts_strongest_first_with_what_fires_marked() -> None:
    (feature,) = draw(two_runs(1)[:1], contexts(1), 5, seed=0)
    lines = [line for line in sheet_lines([feature]) if "[" in line]
    assert len(lines) == 12
    assert all("<<key>> end" in line for line in lines)
    shares = [float(line[line.index("[") + 1 : line.index("]")]) for line in lines]
    assert shares[0] == 1.0
    assert shares == sorted(shares, reverse=True)
    assert not any("learnt" in line or "nothing" in line for line in lines)


def test_nothing_on_a_sheet_of_two_runs_tells_whose_a_label_is() -> None:
    features = draw(two_runs(), contexts(), N_FEATURES, seed=0)
    n_first = sum(feature.labels[0].startswith("first") for feature in features)
    assert 10 <= n_first <= 30, "drawn for each feature"
    assert draw(two_runs(), contexts(), N_FEATURES, seed=0) == features
    assert draw(two_runs(), contexts(), N_FEATURES, seed=1) != features


def test_labels_that_read_alike_are_judged_once_for_both_runs() -> None:
    features = draw([{0: "The  Sea"}, {0: "the sea"}], contexts(1), 5, seed=0)
    assert "A and B is:" in "\n".join(sheet_lines(features)).splitlines()
    sheet = "\n".join(sheet_lines(features)).replace("A and B is:", "A and B is: partly")
    assert read_verdicts(sheet, key_of(features)) == {0: {0: "partly", 1: "partly"}}


def test_verdicts_are_counted_for_the_runs_whose_labels_they_are_of() -> None:
    features = draw(two_runs(), contexts(), 30, seed=0)
    verdicts = read_verdicts(filled_in(features, {"first": "wrong", "second": "Right"}), key_of(features))
    told = [*count_lines(verdicts, ["one", "two"], 30)]
    assert told[0] == "30 of 30 features read"
    assert told[1].startswith("one: right 0 (0%, 0% to 11%), partly 0")
    assert "wrong 30 (100%" in told[1]
    assert told[2].startswith("two: right 30 (100%, 89% to 100%)")
    assert told[3].startswith("points of two less those of one: +1.000")


def test_a_feature_that_was_left_open_or_half_read_is_not_counted() -> None:
    features = draw(two_runs(3), contexts(3), 3, seed=0)
    lines = "\n".join(sheet_lines(features)).splitlines()
    lines[lines.index("A is:")] = "A is: right"
    verdicts = read_verdicts("\n".join(lines), key_of(features))
    assert [*count_lines(verdicts, ["one", "two"], 3)] == ["0 of 3 features read", "one: ", "two: "]


def test_a_verdict_that_is_no_word_of_the_three_is_told_with_its_line() -> None:
    features = draw(two_runs(1), contexts(1), 1, seed=0)
    sheet = "\n".join(sheet_lines(features)).replace("A is:", "A is: rigth")
    with pytest.raises(ValueError, match="'rigth' is none of right, partly, wrong") as error:
        read_verdicts(sheet, key_of(features))
    number = int(str(error.value).split()[1].strip(":"))
    assert sheet.splitlines()[number - 1].startswith("A is")


def test_features_without_a_label_in_each_run_are_left_out() -> None:
    first, second = two_runs(4)
    del second[2]
    assert [f.feature_index for f in draw([first, second], contexts(4), 9, seed=0)] == [0, 1, 3]
