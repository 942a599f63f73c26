"""NumPy arrays by their element type, as the columns of all stages are declared."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

U8: TypeAlias = NDArray[np.uint8]
U16: TypeAlias = NDArray[np.uint16]
U32: TypeAlias = NDArray[np.uint32]
U64: TypeAlias = NDArray[np.uint64]
I64: TypeAlias = NDArray[np.int64]
Bool: TypeAlias = NDArray[np.bool_]

_Numbers = TypeVar("_Numbers", I64, U8, U16, U32, U64)


def ascending(values: _Numbers) -> _Numbers:
    """Return the distinct values in order, as `np.unique` does, which since NumPy 2.3 hashes before it sorts and takes
    ten times as long.
    """
    ordered = np.sort(values)
    first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]


def among(values: NDArray[Any], wanted: Iterable[int]) -> Bool:
    """Return which values are one of a few, as `np.isin` does, which for few values sorts them and, the first time,
    imports NumPy's masked arrays, in 10 ms.
    """
    found: Bool = np.zeros(values.shape, np.bool_)
    for one in wanted:
        found |= values == one
    return found
