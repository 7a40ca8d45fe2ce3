"""Arrays in JSON: their bytes in base64, beside their type and shape.

Bit for bit what they were, one third larger than the bytes, and read at once: as JSON's own numbers a matrix of
activations would be three times as large, and take a hundred times as long to read. It is not numpy's or Python's own
format, since what reads an object could be made to run it.
"""

import base64
import binascii
import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema

_KINDS = ("|b1", "<i4", "<i8", "<f4", "<f8")


class PackedArray(BaseModel):
    """An array.

    Attributes:
        dtype: As numpy writes it; the first byte of a number is its lowest.
        shape: Of the array, whose last dimension changes fastest.
        data: Its bytes in base64.
    """

    model_config = ConfigDict(extra="forbid")

    dtype: Literal["|b1", "<i4", "<i8", "<f4", "<f8"]
    shape: list[int]
    data: str


def pack(array: Any) -> dict[str, Any]:
    """What JSON can hold of an array of booleans, whole numbers or floats."""
    of = np.asarray(array)
    dtype = of.dtype.newbyteorder("<").str
    assert dtype in _KINDS, f"arrays of {of.dtype} don't travel"
    data = np.ascontiguousarray(of, dtype=dtype).tobytes()
    return {"dtype": dtype, "shape": list(of.shape), "data": base64.b64encode(data).decode("ascii")}


def unpack(packed: object) -> Any:
    """Read what `pack` gave; an array is given back.

    Raises:
        ValueError: If it is something else.
    """
    if isinstance(packed, np.ndarray):
        return packed
    of = PackedArray.model_validate(packed)
    try:
        data = base64.b64decode(of.data, validate=True)
    except binascii.Error as error:
        raise ValueError("data is no base64") from error
    dtype = np.dtype(of.dtype)
    if min(of.shape, default=0) < 0 or math.prod(of.shape) * dtype.itemsize != len(data):
        raise ValueError(f"{len(data)} bytes are no array of {of.dtype} in the shape {_told(of.shape)}")
    return np.frombuffer(data, dtype=dtype).reshape(of.shape).astype(dtype.newbyteorder("="))


def _told(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape[:8]))


Array = Annotated[
    Any,
    BeforeValidator(unpack),
    PlainSerializer(pack, return_type=dict[str, Any]),
    WithJsonSchema(PackedArray.model_json_schema()),
]
"""An array in a model: packed in JSON, of numpy in Python."""
