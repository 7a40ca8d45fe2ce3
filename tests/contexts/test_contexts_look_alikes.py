import numpy as np
import pytest
from jaxtyping import Float32

from autointerp.contexts.look_alikes import crowding, look_alike


def unit(rows: list[list[float]]) -> Float32[np.ndarray, "row dim"]:
    array = np.array(rows, dtype=np.float32)
    rows_of_length_one: Float32[np.ndarray, "row dim"] = array / np.linalg.norm(array, axis=1, keepdims=True)
    return rows_of_length_one


def test_a_window_in_a_crowd_is_crowded_and_one_alone_is_not() -> None:
    windows = unit([[1, 0, 0], [1, 0.1, 0], [1, 0, 0.1], [0, 0, -1]])
    crowded = crowding(windows)
    assert crowded[:3].min() > crowded[3] + 0.5
    assert crowded[3] == pytest.approx(np.mean([windows[3] @ w for w in windows[:3]]), abs=1e-6)
    assert crowding(windows[:1]).tolist() == [0.0]


def test_each_context_has_its_look_alike_before_a_second_one_of_another() -> None:
    windows = unit([[1, 0, 0.2], [1, 0, 0.1], [0, 1, 0.2], [0.7, 0.7, 0]])
    alike = look_alike(windows, np.zeros(4, dtype=np.float32), unit([[1, 0, 0], [0, 1, 0]]))
    assert np.argsort(-alike)[:2].tolist() == [1, 2]
    assert (alike[1], alike[2]) == (0.0, -0.5), "the first context's comes first"


def test_what_is_similar_to_everything_comes_after_what_is_similar_to_the_context() -> None:
    windows = unit([[1, 1, 1], [1, 0.9, 1.1], [1.1, 1, 0.9], [0.9, 1, 1], [1, -0.4, -0.4]])
    context = unit([[1, 0.05, 0.05]])
    plain = look_alike(windows, np.zeros(5, dtype=np.float32), context)
    assert np.argmax(look_alike(windows, crowding(windows), context)) == 4
    assert plain[4] == 0 or np.argmax(plain) != 4
