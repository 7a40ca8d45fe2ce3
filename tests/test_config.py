"""Pipeline files: what is read, what is refused, and what the one-line errors say."""

import codecs
import itertools
import tomllib
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.config import Pipeline, parse_indices
from autointerp.config.file import as_toml, load_pipeline, ready_made
from autointerp.errors import PipelineError


def write(folder: Path, text: str) -> str:
    path = folder / "p.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


MINIMAL = 'name = "p"\n[coder]\npath = "c"\n'


@pytest.mark.parametrize("name", ready_made())
def test_a_ready_made_pipeline_validates(name: str) -> None:
    assert load_pipeline(name).name == name


def test_an_unknown_key_is_refused_and_the_known_ones_are_listed(tmp_path: Path) -> None:
    with pytest.raises(PipelineError) as caught:
        load_pipeline(write(tmp_path, MINIMAL + "[collect]\nn_topp = 3\n"))
    assert "there is no key `collect.n_topp`" in str(caught.value)
    assert "did you mean `n_top`?" in caught.value.remedy
    assert "\n" not in str(caught.value)


def test_a_misspelt_key_is_told_before_the_key_that_is_missing_for_it(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"no key `nam`: did you mean `name`"):
        load_pipeline(write(tmp_path, 'nam = "p"\n[coder]\npath = "c"\n'))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("score.scorers=detection", r"score\.scorers: must be a list"),
        ("corpus.n_tokens=abc", r"corpus\.n_tokens: must be a whole number"),
        ('explain.candidates=["rules"]', r"explain\.candidates: must have 2 or more entries, not 1"),
        ("score.scorers=[]", r"score\.scorers: must have 1 or more entries, not 0"),
        ("judge.answers=chances", r"judge: answers says how a language model is asked, and no table \[judge\.model\]"),
    ],
)
def test_wrong_values_are_told_in_plain_words(tmp_path: Path, override: str, words: str) -> None:
    with pytest.raises(PipelineError, match=words):
        load_pipeline(write(tmp_path, MINIMAL), (override,))


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="the key `coder` is missing"):
        load_pipeline(write(tmp_path, 'name = "p"\n'))


def test_a_value_of_the_wrong_kind_is_named(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"collect\.n_top"):
        load_pipeline(write(tmp_path, MINIMAL + '[collect]\nn_top = "many"\n'))


def test_a_coder_needs_exactly_one_origin(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="either `path` or `release`"):
        load_pipeline(write(tmp_path, 'name = "p"\n[coder]\npath = "c"\nrelease = "r"\nsae_id = "s"\n'))


TWO_CODERS = 'name = "p"\n[[coder]]\npath = "c"\n[[coder]]\nrelease = "r"\nsae_id = "s"\n'


def test_one_table_of_a_coder_is_a_list_of_one_and_several_keep_their_order(tmp_path: Path) -> None:
    (coder,) = load_pipeline(write(tmp_path, MINIMAL)).coder
    assert (coder.path, coder.release) == ("c", None)
    first, second = load_pipeline(write(tmp_path, TWO_CODERS)).coder
    assert (first.path, first.release, second.path, second.release) == ("c", None, None, "r")
    pipeline = load_pipeline(write(tmp_path, TWO_CODERS))
    assert Pipeline.model_validate(pipeline.model_dump(mode="json")) == pipeline


def test_a_misspelt_key_in_the_second_table_of_coders_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        PipelineError, match=r"no key `coder\.sae_idd`: did you mean `sae_id`\? The keys there are path"
    ):
        load_pipeline(write(tmp_path, TWO_CODERS.replace("sae_id", "sae_idd")))


def test_each_table_of_coders_needs_exactly_one_origin(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="either `path` or `release`"):
        load_pipeline(write(tmp_path, TWO_CODERS + 'path = "also"\n'))


def test_a_list_without_a_coder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"p\.toml: coder: "):
        load_pipeline(write(tmp_path, 'name = "p"\ncoder = []\n'))


def test_an_override_reaches_the_only_coder_and_is_refused_where_there_are_several(tmp_path: Path) -> None:
    (coder,) = load_pipeline(write(tmp_path, MINIMAL), ("coder.path=other",)).coder
    assert coder.path == "other"
    with pytest.raises(PipelineError, match=r"--set coder\.path: there are several tables 'coder': set it in the file"):
        load_pipeline(write(tmp_path, TWO_CODERS), ("coder.path=other",))


def test_fewer_token_candidates_than_tokens_listed_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"n_token_candidates must be at least collect\.n_top_tokens"):
        load_pipeline(write(tmp_path, MINIMAL), ("collect.n_token_candidates=20", "collect.n_top_tokens=21"))


def test_broken_toml_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="is not valid TOML"):
        load_pipeline(write(tmp_path, "name = \n"))


def test_a_byte_order_mark_and_the_line_ends_of_windows_are_no_matter(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_bytes(codecs.BOM_UTF8 + MINIMAL.replace("\n", "\r\n").encode())
    assert load_pipeline(str(path)) == load_pipeline(write(tmp_path, MINIMAL))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (MINIMAL.encode("utf-16"), "is UTF-16, and TOML is UTF-8: save it as UTF-8"),
        (b'name = "p"\n# caf\xe9\n', r"is not UTF-8 \(line 2\): save it as UTF-8"),
        (b'name = "p"\nname = "q"\n', "Cannot overwrite a value .at line 2"),
        (b"x = " + b"[" * 5000 + b"]" * 5000, "nested too deep"),
        (b"x = " + b"1" * 5000, "is not valid TOML"),
        (MINIMAL.encode().replace(b'"c"', b'"c\\u0000"'), "coder.path: holds the character NUL"),
        (MINIMAL.encode().replace(b'"c"', b'"~nobody-of-this-name/c"'), "no home is known for ~nobody-of-this-name"),
    ],
)
def test_what_is_no_toml_in_utf_8_is_one_line(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "p.toml"
    path.write_bytes(content)
    with pytest.raises(PipelineError, match=told):
        load_pipeline(str(path))


@pytest.mark.parametrize("name", ["..", ".", "a/b", "a b", "日本", ""])
def test_a_name_that_would_lead_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(PipelineError, match="name: "):
        load_pipeline(write(tmp_path, MINIMAL), (f'name="{name}"',))


def test_an_override_that_is_no_toml_is_text_however_deep_or_long_it_is(tmp_path: Path) -> None:
    pipeline = load_pipeline(write(tmp_path, MINIMAL), (f"coder.path={'[' * 5000}",))
    assert pipeline.coder[0].path == "[" * 5000
    with pytest.raises(PipelineError, match="seed: "):
        load_pipeline(write(tmp_path, MINIMAL), (f"seed={'1' * 5000}",))


def test_a_missing_file_lists_the_ready_made_ones() -> None:
    with pytest.raises(PipelineError, match="demo"):
        load_pipeline("no-such-pipeline")


def test_overrides_reach_any_depth_and_keep_their_types(tmp_path: Path) -> None:
    overrides = ("corpus.n_tokens=1234", "subject.model=my-model", 'contexts.negatives=["silent_random"]')
    pipeline = load_pipeline(write(tmp_path, MINIMAL), overrides)
    assert pipeline.corpus.n_tokens == 1234
    assert pipeline.subject.model == "my-model"
    assert pipeline.contexts.negatives == ("silent_random",)


def test_a_table_that_names_the_judge_s_model_has_it_judge_unless_the_kind_says_otherwise(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL + '[judge.model]\nprovider = "openai"\nmodel = "m"\n')
    assert load_pipeline(path).judge.kind == "llm"
    assert load_pipeline(path, ("judge.kind=local",)).judge.kind == "local"
    assert load_pipeline(path, ("judge.model=unset",)).judge.kind == "local"
    assert load_pipeline(write(tmp_path, MINIMAL), ('judge.model={model = "m"}',)).judge.kind == "llm"


def test_unset_takes_a_key_away(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL + "[features]\nsample = 5\n")
    chosen = load_pipeline(path, ("features.sample=unset", 'features.indices="3-5"'))
    assert (chosen.features.sample, chosen.features.indices) == (None, "3-5")


@pytest.mark.parametrize("override", ["corpus.n_tokens", "=3", "name.deeper=3"])
def test_a_malformed_override_is_refused(tmp_path: Path, override: str) -> None:
    with pytest.raises(PipelineError, match="--set"):
        load_pipeline(write(tmp_path, MINIMAL), (override,))


def test_a_context_longer_than_a_block_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="context_length"):
        load_pipeline(write(tmp_path, MINIMAL), ("collect.context_length=64", "corpus.block_length=32"))


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), min_size=1))
def test_indices_read_back_in_order_however_their_ranges_lie(ranges: list[tuple[int, int]]) -> None:
    text = ",".join(f"{first}-{first + more}" if more else str(first) for first, more in ranges)
    wanted = sorted({index for first, more in ranges for index in range(first, first + more + 1)})
    read = parse_indices(text)
    assert [index for part in read for index in part] == wanted
    assert all(before.stop < after.start for before, after in itertools.pairwise(read))


def test_ranges_of_any_size_take_no_memory() -> None:
    tracemalloc.start()
    assert parse_indices("0-29999999,5-100000000000,7") == (range(100_000_000_001),)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 100_000


@pytest.mark.parametrize(
    "text", ["", "a", "5-3", "1,,2", "-4", "1-", "0x10", "@ids.txt", "1-2-3", "²", "1" * 5000, "0-" + "9" * 5000]
)
def test_indices_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"index|ends before") as caught:
        parse_indices(text)
    assert len(str(caught.value)) < 200


def test_defaults_stand_in_config_only(tmp_path: Path) -> None:
    assert load_pipeline(write(tmp_path, MINIMAL)) == Pipeline.model_validate({"name": "p", "coder": {"path": "c"}})


def test_an_override_that_is_not_utf8_is_refused_before_it_is_stored(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"--set corpus.path=a\ufffd.txt is not UTF-8"):
        load_pipeline(write(tmp_path, MINIMAL), ("corpus.path=a\udcff.txt",))


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.lists(st.integers(-(10**9), 10**9)) | st.booleans())
def test_what_is_written_as_toml_is_read_back_as_a_file_and_as_an_override(value: object) -> None:
    assert tomllib.loads(f"value = {as_toml(value)}") == {"value": value}


@pytest.mark.parametrize("text", ["é 🙂/texts", 'a "b"\\c', "tab\there", "del\x7f", "unset", "7", "# 1"])
def test_a_path_given_as_an_option_comes_through(text: str) -> None:
    assert load_pipeline("demo", (f"runs={as_toml(text)}",)).runs == text


@pytest.mark.parametrize(
    "key", ["corpus.path", "corpus.column", "coder.hook", "subject.name", "embedder.model", "runs"]
)
@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_text_is_no_name(tmp_path: Path, key: str, empty: str) -> None:
    overrides = (f"{key}={empty!r}", *(["corpus.kind='text'"] if key.startswith("corpus") else []))
    with pytest.raises(PipelineError, match=f"{key}: is empty"):
        load_pipeline(write(tmp_path, MINIMAL), overrides)


@pytest.mark.parametrize("key", ["subset", "dataset_split", "revision"])
def test_what_names_a_part_of_a_hub_dataset_is_refused_of_a_file(tmp_path: Path, key: str) -> None:
    of_a_file = ("corpus.kind='jsonl'", "corpus.path='texts.jsonl'", f"corpus.{key}='test'")
    with pytest.raises(PipelineError, match=f"corpus.{key} needs the kind huggingface"):
        load_pipeline(write(tmp_path, MINIMAL), of_a_file)
    assert (
        load_pipeline(write(tmp_path, MINIMAL), (*of_a_file, "corpus.kind='huggingface'")).corpus.path == "texts.jsonl"
    )


def test_a_column_is_refused_where_no_file_has_any(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"corpus\.column needs the kind text or jsonl"):
        load_pipeline(write(tmp_path, MINIMAL), ("corpus.column='body'",))
    mixed_folder = ("corpus.kind='text'", "corpus.path='texts'", "corpus.column='body'")
    assert load_pipeline(write(tmp_path, MINIMAL), mixed_folder).corpus.column == "body"


@pytest.mark.parametrize("key", ["chat=true", "token_column='ids'", "group_column='who'"])
def test_what_is_said_of_columns_is_refused_of_plain_text(tmp_path: Path, key: str) -> None:
    of_rows = ("corpus.kind='jsonl'", "corpus.path='texts'", f"corpus.{key}")
    with pytest.raises(PipelineError, match=f"corpus.{key.partition('=')[0]} needs the kind jsonl or parquet"):
        load_pipeline(write(tmp_path, MINIMAL), (*of_rows, "corpus.kind='text'"))
    assert load_pipeline(write(tmp_path, MINIMAL), of_rows).corpus.path == "texts"
