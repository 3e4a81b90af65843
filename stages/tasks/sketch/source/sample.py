"""Doodles of twelve things, drawn by a seeded generator and written as Quick, Draw!'s simplified ndjson.

They differ in what they show and not in how much is drawn: every drawing has its own proportions, aspect, rotation
and wobble; strokes come in any order and direction, begin anywhere on a closed line, are split, joined, drawn twice or
missing; and many things share their main line (a circle: clock, face, flower, sun, wheel).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import orjson

from ..data.simplify import simplify
from ..data.strokes import Strokes
from .doodles import DOODLES, Stroke

_COUNTRIES = ("AU", "BR", "CA", "CZ", "DE", "FI", "FR", "GB", "IT", "KR", "PL", "RU", "SE", "US")
_WAVES = np.array([0.5, 1.0, 2.0, 4.0])[:, None, None]  # that a stroke wobbles in, from end to end; four
_SWINGS = 1 / np.sqrt(_WAVES)  # their relative heights


def write_sample(folder: Path, *, per_category: int, seed: int) -> None:
    """Write `CATEGORY.ndjson` for every doodle, `per_category` drawings each.

    A drawing depends on the seed, its category and its place alone: more drawings leave the first ones as they were.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for category in DOODLES:
        with (folder / f"{category}.ndjson").open("wb") as file:
            for record in records(category, per_category, seed=seed):
                file.write(orjson.dumps(record) + b"\n")


def records(category: str, count: int, *, seed: int) -> Iterator[dict[str, object]]:
    """The first `count` drawings of a category, with the host's field names."""
    for start in range(0, count, 256):
        places = range(start, min(start + 256, count))
        generators = [_generator(category, place, seed) for place in places]
        drawn = [doodle(category, generator) for generator in generators]
        strokes = [stroke for strokes, _ in drawn for stroke in strokes]
        simplified = simplify(
            Strokes(
                np.concatenate(strokes),
                np.array([len(stroke) for stroke in strokes]),
                np.array([len(strokes) for strokes, _ in drawn]),
            )
        )
        drawings = replace(simplified, points=simplified.points.astype(int)).nested()
        for place, generator, (_, missing), drawing in zip(places, generators, drawn, drawings, strict=True):
            moment = datetime(2017, 3, 1) + timedelta(seconds=int(generator.integers(28 * 86_400)))
            yield {
                "word": category,
                "countrycode": str(generator.choice(_COUNTRIES)),
                "timestamp": f"{moment:%Y-%m-%d %H:%M:%S}.00000 UTC",
                "recognized": bool(generator.random() > 0.05 + 0.1 * missing),
                "key_id": _key(category, place, seed),
                "drawing": drawing,
            }


def doodle(category: str, generator: np.random.Generator) -> tuple[list[Stroke], int]:
    """One drawing as a person might draw it, and how many of its strokes are missing."""
    strokes = DOODLES[category](generator)
    missing = 0
    while len(strokes) > 2 and generator.random() < 0.08:
        strokes.pop(int(generator.integers(len(strokes))))
        missing += 1
    if generator.random() < 0.5:
        strokes = [strokes[i] for i in generator.permutation(len(strokes))]
    strokes = [_by_hand(stroke, generator) for stroke in strokes]
    view = _view(generator)
    return [stroke @ view for stroke in _pen(strokes, generator)], missing


def _by_hand(stroke: Stroke, generator: np.random.Generator) -> Stroke:
    """The stroke as a hand draws it: from either end, from anywhere on a closed line, shifted, scaled and wobbling."""
    if np.abs(stroke[0] - stroke[-1]).max() < 1e-9:
        stroke = np.roll(stroke[:-1], int(generator.integers(len(stroke) - 1)), axis=0)
        overlap = int(generator.integers(-2, 4))  # points short of closing, or past it
        stroke = np.concatenate([stroke, stroke[: overlap + 1]]) if overlap >= 0 else stroke[:overlap]
    if generator.random() < 0.5:
        stroke = stroke[::-1]
    low, high = stroke.min(axis=0), stroke.max(axis=0)
    size = max(float((high - low).max()), 0.1)
    draws = generator.standard_normal((10 + len(stroke), 2))
    growth, shift, height, phase, tremor = draws[0], draws[1], draws[2:6, None], draws[6:10, None], draws[10:]
    way = np.arange(len(stroke))[:, None] * (2 * np.pi / (len(stroke) - 1))
    wobble = (height * _SWINGS * np.sin(_WAVES * way + 3 * phase)).sum(axis=0)
    middle = (low + high) / 2
    grown = middle + (stroke - middle) * (1 + 0.07 * growth)
    return grown + 0.05 * shift + 0.02 * size * wobble + min(size, 1.0) * generator.uniform(0.004, 0.014) * tremor


def _pen(strokes: list[Stroke], generator: np.random.Generator) -> list[Stroke]:
    """The pen leaves the paper in the middle of a stroke, stays on it between two, or goes over one again."""
    lifted: list[Stroke] = []
    for stroke in strokes:
        cut = int(generator.integers(2, len(stroke) - 2)) if generator.random() < 0.15 and len(stroke) > 8 else 0
        lifted += [stroke[: cut + 1], stroke[cut:]] if cut else [stroke]
        if generator.random() < 0.08:
            lifted.append(stroke + generator.normal(0, 0.03, stroke.shape))
    drawn = lifted[:1]
    for stroke in lifted[1:]:
        if generator.random() < 0.07:
            drawn[-1] = np.concatenate([drawn[-1], stroke])
        else:
            drawn.append(stroke)
    return drawn


def _view(generator: np.random.Generator) -> np.ndarray:
    """A matrix `(2, 2)` that turns, stretches, slants and sometimes mirrors a drawing."""
    angle = np.clip(generator.normal(0, 0.35), -0.9, 0.9)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    aspect = np.exp(generator.normal(0, 0.18))
    mirror = generator.choice((-1.0, 1.0))
    slant = np.array([[mirror * aspect, 0.0], [generator.normal(0, 0.12), 1.0 / aspect]])
    return slant @ turn * generator.uniform(60, 400)


def _generator(category: str, place: int, seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, (list(DOODLES).index(category) << 40) + place]))


def _key(category: str, place: int, seed: int) -> str:
    digest = hashlib.blake2b(f"{seed} {category} {place}".encode(), digest_size=8).digest()
    return str(4_503_599_627_370_496 + int.from_bytes(digest, "big") % 2_251_799_813_685_248)
