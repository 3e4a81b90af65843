"""Pictures that Gradio's plots cannot draw, as SVG in the theme's colours; all text in them is escaped.

A forecast has a band, and attention is a table of weights. A belief has other classes after each stroke, where the
legend of `gr.LinePlot` keeps those of its first value (Gradio 6.31).
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

_WIDTH = 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 8, 10, 24
_LEGEND = 22  # height of the row of names
_LETTER, _LEGEND_LETTERS = 6.4, 42  # width of one, and how many there is room for
_CELL, _LABEL = 26, 90  # of attention, in pixels
_UPRIGHT = 3  # letters of a token that there is room for above a cell


@dataclass(frozen=True)
class _Plane:
    """Where values lie in a picture of `height`, of which `top` is kept free; x from `first` to `last`."""

    first: float
    last: float
    ticks: Sequence[float]  # of y
    height: int
    top: int = _TOP

    def x(self, value: float) -> float:
        share = (value - self.first) / ((self.last - self.first) or 1.0)
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        share = (value - self.ticks[0]) / (self.ticks[-1] - self.ticks[0])
        return round(self.height - _BOTTOM - share * (self.height - self.top - _BOTTOM), 1)

    def points(self, xs: Sequence[float], ys: Sequence[float]) -> str:
        return " ".join(f"{self.x(x)},{self.y(y)}" for x, y in zip(xs, ys, strict=True))

    def axes(self, marks: Sequence[tuple[float, str]]) -> str:
        """Lines across with their values, and `marks` below at their x, which ascend."""
        rows = [
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{self.y(tick)}" y2="{self.y(tick)}"/>'
            f'<text x="{_LEFT - 6}" y="{self.y(tick) + 4}" text-anchor="end">{tick:,g}</text>'
            for tick in self.ticks
        ]
        anchors = ["start", *["middle"] * (len(marks) - 2), "end"]
        below = [
            f'<text x="{self.x(at)}" y="{self.height - 6}" text-anchor="{anchor}">{text}</text>'
            for (at, text), anchor in zip(marks, anchors, strict=True)
        ]
        return "".join(rows + below)


def belief(title: str, moments: Sequence[float], last: str, beliefs: Sequence[Mapping[str, float]]) -> str:
    """How the belief in the three classes grew that are likeliest at the end; `last` stands below the last moment.

    `beliefs` are by class, one a moment, the likeliest first; a class that a moment does not name counts as 0 there.
    """
    plane = _Plane(0.0, max(moments), (0.0, 0.5, 1.0), height=170, top=_TOP + _LEGEND)
    names = list(beliefs[-1])[:3]
    legend, at = [], _LEFT
    for rank, name in enumerate(_shortened(names, _LEGEND_LETTERS)):
        legend.append(f'<rect class="of-{rank}" x="{at}" y="6" width="10" height="10" rx="2"/>')
        legend.append(f'<text x="{at + 14}" y="15">{html.escape(name)}</text>')
        at += 30 + round(_LETTER * len(name))
    lines = [
        f'<polyline class="of-{rank}" points="{plane.points(moments, [at.get(name, 0.0) for at in beliefs])}"/>'
        for rank, name in reversed(list(enumerate(names)))
    ]
    axes = plane.axes([(0.0, "0"), (max(moments), last)])
    return _svg(170, title, axes, *lines, *legend)


def _shortened(names: Sequence[str], letters: int) -> list[str]:
    """Names that fill a row of so many letters at most: the longest are cut."""
    longest = max((len(name) for name in names), default=0)
    while sum(min(len(name), longest) for name in names) > letters:
        longest -= 1
    return [name if len(name) <= longest else f"{name[: longest - 1]}…" for name in names]


def forecast(history: pd.DataFrame, ahead: pd.DataFrame) -> str:
    """The last days of a series (`ds`, `y`) and the days ahead (`ds`, `mean`, `q05`, `q95`), all dates ascending."""
    # The forecast sets out from the last known day.
    last = history.iloc[[-1]]
    joint = pd.DataFrame({"ds": last["ds"], **dict.fromkeys(("mean", "q05", "q95"), last["y"])})
    ahead = pd.concat([joint, ahead[["ds", "mean", "q05", "q95"]]], ignore_index=True)
    known, days = _numbered(history["ds"]), _numbered(ahead["ds"])
    values = np.concatenate([history["y"], *(ahead[name] for name in ("mean", "q05", "q95"))]).astype(float)
    plane = _Plane(known[0], days[-1], _ticks(float(values.min()), float(values.max())), height=230)
    band = f"{plane.points(days, ahead['q95'].tolist())} {plane.points(days[::-1], ahead['q05'].tolist()[::-1])}"
    marks = [(day, _said(day)) for day in (known[0], (known[0] + days[-1]) // 2, days[-1])]
    return _svg(
        230,
        "The last days, the seven days ahead and the band that holds nine of ten",
        plane.axes(marks),
        f'<polygon class="band" points="{band}"/>',
        f'<polyline class="known" points="{plane.points(known, history["y"].tolist())}"/>',
        f'<polyline class="of-0" points="{plane.points(days, ahead["mean"].tolist())}"/>',
    )


def attention(source: Sequence[str], target: Sequence[str], weights: Sequence[Sequence[float]]) -> str:
    """How much each token of the translation looked at each token of the source; weights `(target, source)`."""
    cells = np.array([list(row) for row in weights], dtype=float)[: len(target), : len(source)]
    width, height = _LABEL + _CELL * len(source) + 4, _LABEL + _CELL * len(target) + 4
    parts = [
        f'<rect class="of-0" x="{_LABEL + _CELL * column}" y="{_LABEL + _CELL * row}" width="{_CELL - 2}" '
        f'height="{_CELL - 2}" rx="3" fill-opacity="{max(0.04, value):.3f}"><title>{value:.2f}</title></rect>'
        for (row, column), value in np.ndenumerate(cells)
    ]
    for column, token in enumerate(source):
        middle, name = _LABEL + _CELL * column + (_CELL - 2) / 2, html.escape(str(token))
        if len(str(token)) <= _UPRIGHT:
            parts.append(f'<text x="{middle}" y="{_LABEL - 8}" text-anchor="middle">{name}</text>')
        else:
            parts.append(f'<text transform="translate({middle + 4} {_LABEL - 8}) rotate(-60)">{name}</text>')
    for row, token in enumerate(target):
        at = _LABEL + _CELL * row + _CELL / 2 + 4
        parts.append(f'<text x="{_LABEL - 8}" y="{at}" text-anchor="end">{html.escape(str(token))}</text>')
    label = "How much each token of the translation (rows) looked at each token of the text (columns)"
    return f'<p class="caption">{label}</p>{_svg(height, label, *parts, width=width)}'


def _svg(height: int, label: str, *parts: str, width: int = _WIDTH) -> str:
    size = f' style="max-width: {width}px"' if width != _WIDTH else ""
    return (
        f'<svg class="chart" viewBox="0 0 {width} {height}"{size} role="img" aria-label="{html.escape(label)}">'
        f"{''.join(parts)}</svg>"
    )


def _ticks(low: float, high: float) -> list[float]:
    """Four or so round numbers, from one below `low` to one above `high`."""
    if low == high:
        low, high = low - (abs(low) or 1.0) / 2, high + (abs(high) or 1.0) / 2
    span = high - low
    step = 10.0 ** np.floor(np.log10(span / 3))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 5)
    return [float(f"{tick:.10g}") for tick in np.arange(np.floor(low / step), np.ceil(high / step) + 0.5) * step]


def _numbered(days: pd.Series) -> list[int]:
    """Days since 1970-01-01."""
    return pd.to_datetime(days).to_numpy(dtype="datetime64[D]").astype(int).tolist()


def _said(number: int) -> str:
    day = date(1970, 1, 1) + pd.Timedelta(days=number)
    return f"{day.day} {day:%b %Y}"
