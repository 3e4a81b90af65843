"""Random numbers by counters: a draw depends on what it is for, never on what was drawn before it."""

from __future__ import annotations

import numpy as np


def uniform(seed: int, epoch: int, examples: np.ndarray, columns: int) -> np.ndarray:
    """Random numbers in [0, 1) of `(examples, columns)`, float64, that depend on (seed, epoch, example, column) alone.

    The same example gets the same draws in whatever batch, process or order it comes. Counter-based: SplitMix64's
    finaliser (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014) over the mixed counters.
    """
    state = mix(np.array([seed + 1], dtype=np.uint64) * _GOLDEN)
    state = mix(state ^ np.array([epoch + 1], dtype=np.uint64) * _GOLDEN)
    row = mix(state ^ (np.asarray(examples, dtype=np.uint64) + np.uint64(1)) * _GOLDEN)
    column = (np.arange(columns, dtype=np.uint64) + np.uint64(1)) * _GOLDEN
    bits = mix(row[:, None] + column[None, :]) >> np.uint64(11)
    return bits.astype(np.float64) * 2.0**-53


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix(x: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser on uint64, modulo 2^64: neighbouring numbers become unrelated ones."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
