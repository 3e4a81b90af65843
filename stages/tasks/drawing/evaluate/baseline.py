"""A generator that knows neither class nor history: what the network must beat a step."""

from __future__ import annotations

import numpy as np
from sklearn.mixture import GaussianMixture

from ....models.mixture import PEN_STATES
from ..model.canvas import DOWN, PIXELS, START

_STEPS = 20_000  # that the mixtures are fitted to; they gain nothing from more
_LEAST_VARIANCE = 0.25  # square pixels, as the network's deviations have at least half a pixel


class StepBaseline:
    """Offsets are Gaussian mixtures, pen states frequencies; both know only whether the pen was down, up or at the
    start before.
    """

    def __init__(self, moves: np.ndarray, lengths: np.ndarray, *, components: int, seed: int) -> None:
        before = _before(moves, lengths)
        pen = moves[:, 2].astype(np.int64)
        # One more of each, so that no state is impossible.
        counts = np.ones((START + 1, PEN_STATES))
        np.add.at(counts, (before, pen), 1)
        self._pen = np.log(counts / counts.sum(axis=1, keepdims=True))
        self._mixtures: dict[int, GaussianMixture] = {}
        for state in np.unique(before[before != START]).tolist():
            offsets = moves[before == state, :2].astype(np.float64) * PIXELS
            some = offsets[np.linspace(0, len(offsets) - 1, min(len(offsets), _STEPS)).astype(np.int64)]
            mixture = GaussianMixture(
                min(components, len(np.unique(some, axis=0))), reg_covar=_LEAST_VARIANCE, random_state=seed
            )
            self._mixtures[state] = mixture.fit(some)

    def surprise(self, moves: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """The negative log-likelihood of each drawing, `(drawings,)`, in nats; offsets count in pixels."""
        before = _before(moves, lengths)
        nll = -self._pen[before, moves[:, 2].astype(np.int64)]
        for state in np.unique(before[before != START]).tolist():
            there = before == state
            # A state that training never saw is as after a pen that is down.
            mixture = self._mixtures.get(state, self._mixtures[DOWN])
            nll[there] -= mixture.score_samples(moves[there, :2].astype(np.float64) * PIXELS)
        sums: np.ndarray = np.add.reduceat(nll, np.cumsum(lengths) - lengths)
        return sums


def _before(moves: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The pen state before each step, START at a drawing's first."""
    before = np.empty(len(moves), dtype=np.int64)
    before[1:] = moves[:-1, 2]
    before[np.cumsum(lengths) - lengths] = START
    return before
