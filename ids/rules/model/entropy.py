"""How evenly bytes are used: Shannon's entropy. Text has 3 to 5 bits a byte, what is compressed nearly 8."""

from __future__ import annotations

import numpy as np

MAX_BYTES = 65_536
"""Bytes of a buffer that are counted; the rest says no more."""


def entropy_of(data: bytes) -> float:
    """Return the bits that a byte of the data is worth, 0 to 8; 0 where there is none."""
    counts = np.bincount(np.frombuffer(data, np.uint8, count=min(len(data), MAX_BYTES)), minlength=256)
    counts = counts[counts > 0]
    if not len(counts):
        return 0.0
    shares = counts / counts.sum()
    return float(-(shares * np.log2(shares)).sum())
