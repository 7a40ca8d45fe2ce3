"""What is kept of a docstring, and what is thinned out."""

import pytest

from autointerp.corpus.sources.prose import extract_prose, is_prose

SENTENCE = "Return the number of times that the value occurs in the list."


def test_flowing_prose_is_kept_and_unwrapped() -> None:
    docstring = """Return the number of times
        that the value occurs in the list.
        """
    assert extract_prose(docstring) == [SENTENCE]


@pytest.mark.parametrize(
    "thinned",
    [
        pytest.param(">>> count([1, 2], 2)\n1\n", id="doctest with its output"),
        pytest.param("```python\nthe_value_is = in_the.list(of_all)\n```\n", id="fenced code"),
        pytest.param(".. code-block:: python\n\n    this is of the kind that we drop\n", id="code directive"),
        pytest.param(".. versionadded:: 3.9\n   It is in the list of what was added to it.\n", id="version note"),
        pytest.param(
            "References\n----------\nA list of the papers that are of use to the reader.\n\nNotes\n-----\n",
            id="references",
        ),
        pytest.param("+------+------+\n| the  | of a |\n+------+------+\n", id="table"),
        pytest.param("Licensed under the terms of the license that is in the file of that name.\n", id="license"),
        pytest.param("alpha, beta, gamma, delta, epsilon, zeta, eta, theta\n", id="list of names"),
        pytest.param(":rtype: the type of the value that is returned by it\n", id="type field"),
    ],
)
def test_what_is_not_prose_is_thinned_out(thinned: str) -> None:
    assert extract_prose(f"{SENTENCE}\n\n{thinned}\n{SENTENCE}") == [SENTENCE, SENTENCE]


def test_a_literal_block_goes_but_the_sentence_before_it_stays() -> None:
    docstring = (
        "The value is found by a walk over the list, as in::\n\n    for the_value in of_the.list:\n        pass\n"
    )
    assert extract_prose(docstring) == ["The value is found by a walk over the list, as in:"]


@pytest.mark.parametrize(
    "docstring",
    [
        pytest.param(
            "Parameters\n----------\nvalue : int, optional\n    What is looked for in each of the lists.\n", id="numpy"
        ),
        pytest.param("Args:\n    value (int, optional): What is looked for in each of the lists.\n", id="google"),
        pytest.param(":param int value: What is looked for in each of the lists.\n", id="sphinx"),
    ],
)
def test_a_parameter_leaves_its_description_only(docstring: str) -> None:
    assert extract_prose(docstring) == ["What is looked for in each of the lists."]


@pytest.mark.parametrize(
    ("marked_up", "plain"),
    [
        ("the :class:`~json.JSONDecoder` of it", "the JSONDecoder of it"),
        ("the :meth:`decoding step <json.JSONDecoder.decode>` of it", "the decoding step of it"),
        ("the ``value`` of it", "the value of it"),
        ("the [documentation](https://example.org/a) of it", "the documentation of it"),
        ("the paper [1]_ on it", "the paper on it"),
    ],
)
def test_markup_in_a_line_is_replaced_by_the_words_it_carries(marked_up: str, plain: str) -> None:
    assert extract_prose(f"This is about {marked_up}, as is all the rest.") == [
        f"This is about {plain}, as is all the rest."
    ]


def test_prose_needs_function_words_and_plain_words() -> None:
    assert is_prose("The sum of the values is in the first row.")
    assert not is_prose("x = f(y[0]) + g(z[1]) if a > b else c_d(e_f)")
    assert not is_prose("Too short.")
