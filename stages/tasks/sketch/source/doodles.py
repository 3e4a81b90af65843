"""What the sample's doodles show: twelve things as strokes, each with its own proportions and details.

Strokes are about a unit circle, y downwards, neat and in one order; `sample.py` draws them as a hand does.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Stroke = np.ndarray  # (points, 2) float64


def _ellipse(x: float, y: float, width: float, height: float, begin: float = 0.0, end: float = 1.0) -> Stroke:
    """An arc about `(x, y)` with half axes `width` and `height`, from `begin` to `end` in turns, 0 at the right."""
    turn = 2 * np.pi * np.linspace(begin, end, max(9, round(32 * abs(end - begin))))
    return np.stack([x + width * np.cos(turn), y + height * np.sin(turn)], axis=1)


def _line(*corners: tuple[float, float]) -> Stroke:
    """Straight lines from corner to corner, with points on the way."""
    pieces = [np.linspace(a, b, 9)[:-1] for a, b in zip(corners, corners[1:], strict=False)]
    return np.concatenate([*pieces, np.array(corners[-1:])])


def _spokes(count: int, inner: float, outer: float, begin: float) -> list[Stroke]:
    """Lines that run outwards from a centre."""
    turns = 2 * np.pi * (begin + np.arange(count) / count)
    ways = zip(np.cos(turns), np.sin(turns), strict=True)
    return [_line((inner * c, inner * s), (outer * c, outer * s)) for c, s in ways]


def _clock(generator: np.random.Generator) -> list[Stroke]:
    hour, minute = generator.uniform(0, 2 * np.pi, 2)
    hands = [_line((0, 0), (r * np.cos(t), r * np.sin(t))) for r, t in ((0.45, hour), (0.75, minute))]
    marks = _spokes(int(generator.choice((4, 8, 12))), 0.82, 0.95, 0.0) if generator.random() < 0.5 else []
    return [_ellipse(0, 0, 1, 1), *hands, *marks]


def _cup(generator: np.random.Generator) -> list[Stroke]:
    foot = generator.uniform(0.45, 0.85)
    depth = generator.uniform(0.7, 1.0)
    body = _line((-0.8, -0.7), (-foot, depth), (foot, depth), (0.8, -0.7))
    strokes = [body, _ellipse(0.75, 0.0, 0.45, 0.4, -0.25, 0.25)]
    strokes.append(_ellipse(0, -0.7, 0.8, 0.2) if generator.random() < 0.6 else _line((-0.8, -0.7), (0.8, -0.7)))
    steam = [_wave(x, -1.5, -1.0) for x in (-0.4, 0.0, 0.4)] if generator.random() < 0.4 else []
    return strokes + steam


def _wave(x: float, top: float, bottom: float) -> Stroke:
    way = np.linspace(0, 1, 13)
    return np.stack([x + 0.1 * np.sin(2 * np.pi * way), top + (bottom - top) * way], axis=1)


def _envelope(generator: np.random.Generator) -> list[Stroke]:
    height = generator.uniform(0.5, 0.9)
    tip = generator.uniform(-0.1, 0.3)
    strokes = [_box(0, 0, 1, height), _line((-1, -height), (0, tip), (1, -height))]
    if generator.random() < 0.4:
        strokes += [_line((-1, height), (-0.25, tip - 0.1)), _line((1, height), (0.25, tip - 0.1))]
    return strokes


def _box(x: float, y: float, width: float, height: float) -> Stroke:
    left, right, top, bottom = x - width, x + width, y - height, y + height
    return _line((left, top), (right, top), (right, bottom), (left, bottom), (left, top))


def _face(generator: np.random.Generator) -> list[Stroke]:
    apart, size = generator.uniform(0.28, 0.42), generator.uniform(0.05, 0.16)
    eyes = [_ellipse(side * apart, -0.25, size, size) for side in (-1, 1)]
    mouth = _ellipse(0, 0.25, 0.45, generator.uniform(-0.1, 0.35), 0.03, 0.47)
    nose = [_line((0, -0.1), (-0.1, 0.15), (0.05, 0.15))] if generator.random() < 0.4 else []
    hair = _spokes(5, 1.0, 1.25, 0.62) if generator.random() < 0.2 else []
    return [_ellipse(0, 0, 0.95, 1.0), *eyes, mouth, *nose, *hair[:3]]


def _fish(generator: np.random.Generator) -> list[Stroke]:
    height = generator.uniform(0.4, 0.65)
    tail = [_line((0.75, 0), (1.3, -0.45), (1.3, 0.45), (0.75, 0))]
    if generator.random() < 0.4:
        tail = [_line((0.75, 0), (1.3, -0.45)), _line((0.75, 0), (1.3, 0.45)), _line((1.3, -0.45), (1.3, 0.45))]
    eye = _ellipse(-0.45, -0.12, 0.07, 0.07)
    fin = [_line((-0.1, -height), (0.2, -height - 0.3), (0.35, -0.85 * height))] if generator.random() < 0.4 else []
    gill = [_ellipse(-0.35, 0, 0.15, 0.3, -0.2, 0.2)] if generator.random() < 0.4 else []
    return [_ellipse(0, 0, 0.8, height), *tail, eye, *fin, *gill]


def _flower(generator: np.random.Generator) -> list[Stroke]:
    count, reach = int(generator.integers(5, 9)), generator.uniform(0.5, 0.65)
    turns = 2 * np.pi * np.arange(count) / count
    petals = [_ellipse(reach * np.cos(t), reach * np.sin(t), 0.26, 0.26) for t in turns]
    if generator.random() < 0.5:  # all petals in one line
        way = np.linspace(0, 2 * np.pi, 12 * count + 1)
        radius = 0.6 + 0.25 * np.abs(np.sin(count * way / 2))
        petals = [np.stack([radius * np.cos(way), radius * np.sin(way)], axis=1)]
    stem = [_line((0, 0.85), (0.05, 1.9))] if generator.random() < 0.6 else []
    leaf = [_ellipse(0.25, 1.5, 0.25, 0.1)] if stem and generator.random() < 0.5 else []
    return [_ellipse(0, 0, 0.27, 0.27), *petals, *stem, *leaf]


def _house(generator: np.random.Generator) -> list[Stroke]:
    height, ridge = generator.uniform(0.55, 0.85), generator.uniform(0.5, 0.9)
    eaves = generator.uniform(0.8, 1.05)
    door = [_line((-0.15, height), (-0.15, 0.1), (0.2, 0.1), (0.2, height))] if generator.random() < 0.6 else []
    window = [_box(0.5, -0.1, 0.15, 0.15)] if generator.random() < 0.4 else []
    chimney = [_line((0.4, -height - 0.4 * ridge), (0.4, -height - ridge), (0.6, -height - ridge), (0.6, -height))]
    roof = _line((-eaves, -height), (0, -height - ridge), (eaves, -height))
    return [_box(0, 0, 0.8, height), roof, *door, *window, *(chimney if generator.random() < 0.3 else [])]


def _star(generator: np.random.Generator) -> list[Stroke]:
    turns = 2 * np.pi * (np.arange(11) / 10 - 0.25)
    if generator.random() < 0.5:  # one crossing line through five tips
        turns = 2 * np.pi * (2 * np.arange(6) / 5 - 0.25)
        return [_line(*zip(np.cos(turns), np.sin(turns), strict=True))]
    radius = np.where(np.arange(11) % 2 == 0, 1.0, generator.uniform(0.35, 0.5))
    strokes = [_line(*zip(radius * np.cos(turns), radius * np.sin(turns), strict=True))]
    glow = _spokes(int(generator.integers(3, 7)), 1.15, 1.35, generator.random()) if generator.random() < 0.3 else []
    return strokes + glow


def _sun(generator: np.random.Generator) -> list[Stroke]:
    inner, outer = generator.uniform(0.62, 0.75), generator.uniform(0.95, 1.2)
    rays = _spokes(int(generator.integers(6, 13)), inner, outer, generator.random())
    smile = [_ellipse(0, 0.1, 0.25, 0.2, 0.05, 0.45)] if generator.random() < 0.2 else []
    return [_ellipse(0, 0, 0.55, 0.55), *rays, *smile]


def _tree(generator: np.random.Generator) -> list[Stroke]:
    width = generator.uniform(0.1, 0.2)
    trunk = [_line((-width, 0.3), (-width, 1.2)), _line((width, 0.3), (width, 1.2))]
    if generator.random() < 0.3:
        trunk = [_line((-width, 0.3), (-width, 1.2), (width, 1.2), (width, 0.3))]
    kind = generator.random()
    if kind < 0.4:  # a cloud
        way = np.linspace(0, 2 * np.pi, 61)
        radius = 0.7 + 0.1 * np.cos(int(generator.integers(5, 9)) * way)
        crown = [np.stack([radius * np.cos(way), radius * np.sin(way) - 0.4], axis=1)]
    elif kind < 0.7:
        crown = [_ellipse(0, -0.4, 0.7, 0.75)]
    else:  # a fir
        tops = [(-0.2 - 0.5 * i, 0.35 + 0.2 * i) for i in range(int(generator.integers(1, 4)))]
        crown = [_line((-w, t + 0.5), (0, t - 0.4), (w, t + 0.5), (-w, t + 0.5)) for t, w in tops]
    apple = [_ellipse(x, y, 0.08, 0.08) for x, y in ((-0.3, -0.3), (0.2, -0.6))] if generator.random() < 0.25 else []
    return trunk + crown + apple


def _umbrella(generator: np.random.Generator) -> list[Stroke]:
    dome = _ellipse(0, 0, 1.0, generator.uniform(0.6, 0.9), 0.5, 1.0)
    count = int(generator.integers(2, 5))
    middles = -1 + (2 * np.arange(count) + 1) / count
    edge = [_ellipse(x, 0, 1 / count, 0.15, 0.5, 1.0) for x in middles]
    if generator.random() < 0.4:
        edge = [_line((-1, 0), (1, 0))]
    shaft, hook = _line((0, 0), (0, 1.0)), _ellipse(0.15, 1.0, 0.15, 0.2, 0.5, 0.0)
    handle = [np.concatenate([shaft, hook[1:]])] if generator.random() < 0.7 else [shaft, hook]
    tip = [_line((0, -0.75), (0, -0.95))] if generator.random() < 0.4 else []
    return [dome, *edge, *handle, *tip]


def _wheel(generator: np.random.Generator) -> list[Stroke]:
    hub = generator.uniform(0.1, 0.3)
    spokes = _spokes(int(generator.integers(4, 9)), hub, generator.uniform(0.75, 0.95), generator.random())
    rim = [_ellipse(0, 0, 0.85, 0.85)] if generator.random() < 0.4 else []
    return [_ellipse(0, 0, 1, 1), _ellipse(0, 0, hub, hub), *rim, *spokes]


_DRAWN = (_clock, _cup, _envelope, _face, _fish, _flower, _house, _star, _sun, _tree, _umbrella, _wheel)
DOODLES: dict[str, Callable[[np.random.Generator], list[Stroke]]] = {doodle.__name__[1:]: doodle for doodle in _DRAWN}
