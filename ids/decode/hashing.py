"""Hash rows of a batch, so that they can be sorted and compared by one number instead of by several columns."""

from __future__ import annotations

import secrets

import numpy as np

from ids.types import U64

_SEED = np.uint64(secrets.randbits(64))
_MULTIPLIER = np.uint64(secrets.randbits(64) | 1)
_FOLD = np.uint64(32)


def mix(*words: U64) -> U64:
    """Hash rows of words, each of shape (n,); nobody can aim at a collision without knowing the seed."""
    value = np.full(len(words[0]), _SEED)
    for word in words:
        value ^= word
        value *= _MULTIPLIER
        value ^= value >> _FOLD
    return value
