"""The cells, drawn."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch
from matplotlib.patheffects import withStroke

from .common import COLORS, save

INK = "#333333"
INSIDE = "#eef4fb"  # of the cell
Point = tuple[float, float]


def lstm() -> None:
    """The LSTM cell of `stages/models/cells.py`."""
    figure, axes = _canvas("LSTM")
    top, bottom, gates = 4.6, 1.0, 2.2
    _frame(axes, (1.2, 0.4), (7.4, 4.9))
    # The memory runs straight through.
    _arrow(axes, (0.2, top), (2.13, top))
    _arrow(axes, (2.67, top), (4.13, top))
    _arrow(axes, (4.67, top), (9.4, top))
    _label(axes, (0.2, top + 0.25), "$c_{t-1}$")
    _label(axes, (9.2, top + 0.25), "$c_t$")
    _operation(axes, (2.4, top), "×")
    _operation(axes, (4.4, top), "+")
    # What all gates read.
    _line(axes, (0.2, bottom), (6.0, bottom))
    _line(axes, (1.7, -0.2), (1.7, bottom))
    _label(axes, (0.2, bottom + 0.25), "$h_{t-1}$")
    _label(axes, (1.95, -0.1), "$x_t$")
    for x, sign, name in (
        (2.4, "σ", "f  forget"),
        (3.5, "σ", "i  write"),
        (4.4, "tanh", "g  new"),
        (6.0, "σ", "o  read"),
    ):
        _arrow(axes, (x, bottom), (x, gates - 0.27))
        _gate(axes, (x, gates), sign)
        axes.text(x + 0.07, 1.42, name, fontsize=8, color=COLORS[0], ha="left", va="center")
    _arrow(axes, (2.4, gates + 0.27), (2.4, top - 0.27))
    _arrow(axes, (4.4, gates + 0.27), (4.4, 3.13))
    _arrow(axes, (4.4, 3.67), (4.4, top - 0.27))
    _line(axes, (3.5, gates + 0.27), (3.5, 3.4))
    _arrow(axes, (3.5, 3.4), (4.13, 3.4))
    _operation(axes, (4.4, 3.4), "×")
    # What the cell says of its memory.
    _arrow(axes, (7.4, top), (7.4, 3.99))
    _gate(axes, (7.4, 3.72), "tanh")
    _arrow(axes, (7.4, 3.45), (7.4, 2.47))
    _arrow(axes, (6.36, gates), (7.13, gates))
    _operation(axes, (7.4, gates), "×")
    _line(axes, (7.4, gates - 0.27), (7.4, bottom))
    _arrow(axes, (7.4, bottom), (9.4, bottom))
    _label(axes, (9.2, bottom + 0.25), "$h_t$")
    save(figure, "lstm")


def gru() -> None:
    """The GRU cell of `stages/models/cells.py`, PyTorch's variant."""
    figure, axes = _canvas("GRU, as PyTorch computes it")
    top, middle, gates, both, only_x = 4.6, 3.3, 2.2, 1.25, 0.65
    _frame(axes, (1.0, 0.25), (7.6, 5.05))
    # The state runs through, as far as z lets it.
    _arrow(axes, (0.2, top), (5.33, top))
    _arrow(axes, (5.87, top), (7.33, top))
    _arrow(axes, (7.87, top), (9.4, top))
    _label(axes, (0.2, top + 0.25), "$h_{t-1}$")
    _label(axes, (9.2, top + 0.25), "$h_t$")
    _operation(axes, (5.6, top), "×")
    _operation(axes, (7.6, top), "+")
    # What the two gates read: state and input.
    _line(axes, (1.4, top), (1.4, both))
    _line(axes, (1.4, both), (5.6, both))
    _line(axes, (1.8, -0.2), (1.8, both))
    _label(axes, (2.05, -0.1), "$x_t$")
    for x, name in ((2.4, "r  reset"), (5.6, "z  keep")):
        _arrow(axes, (x, both), (x, gates - 0.27))
        _gate(axes, (x, gates), "σ")
        axes.text(x + 0.07, 1.6, name, fontsize=8, color=COLORS[0], ha="left", va="center")
    # The new state: from the input, and from as much of the old state as r lets through.
    _line(axes, (1.8, only_x), (4.5, only_x))
    _arrow(axes, (4.5, 1.0), (4.5, middle - 0.27), over=True)
    _line(axes, (4.5, only_x), (4.5, 1.1))
    _arrow(axes, (3.4, top), (3.4, 4.22))
    _gate(axes, (3.4, 3.95), "U")
    _arrow(axes, (3.4, 3.68), (3.4, middle + 0.27))
    _line(axes, (2.4, gates + 0.27), (2.4, middle))
    _arrow(axes, (2.4, middle), (3.13, middle))
    _operation(axes, (3.4, middle), "×")
    _arrow(axes, (3.67, middle), (4.14, middle))
    _gate(axes, (4.5, middle), "tanh")
    axes.text(4.57, 2.75, "n  new", fontsize=8, color=COLORS[0], ha="left", va="center")
    # z keeps the old, 1 − z takes the new.
    _arrow(axes, (5.6, gates + 0.27), (5.6, top - 0.27))
    _arrow(axes, (4.86, middle), (7.33, middle), over=True)
    _operation(axes, (7.6, middle), "×")
    _arrow(axes, (5.96, gates), (6.33, gates))
    _operation(axes, (6.6, gates), "1−")
    _line(axes, (6.87, gates), (7.6, gates))
    _arrow(axes, (7.6, gates), (7.6, middle - 0.27))
    _arrow(axes, (7.6, middle + 0.27), (7.6, top - 0.27))
    save(figure, "gru")


def _canvas(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlim(0, 9.6)
    axes.set_ylim(-0.4, 5.6)
    axes.set_aspect("equal")
    axes.axis("off")
    axes.set_title(title, fontsize=12)
    return figure, axes


def _frame(axes: Axes, corner: Point, size: Point) -> None:
    style = "round,pad=0,rounding_size=0.25"
    axes.add_patch(FancyBboxPatch(corner, *size, boxstyle=style, facecolor=INSIDE, edgecolor="#9db8d2"))


def _gate(axes: Axes, middle: Point, text: str) -> None:
    corner, style = (middle[0] - 0.36, middle[1] - 0.27), "round,pad=0,rounding_size=0.08"
    axes.add_patch(FancyBboxPatch(corner, 0.72, 0.54, boxstyle=style, facecolor="#ffe8b3", edgecolor=INK, zorder=3))
    axes.text(*middle, text, ha="center", va="center", fontsize=11, zorder=4)


def _operation(axes: Axes, middle: Point, text: str) -> None:
    axes.add_patch(Circle(middle, 0.27, facecolor="#ffffff", edgecolor=INK, zorder=3))
    axes.text(*middle, text, ha="center", va="center_baseline", fontsize=13, zorder=4)


def _line(axes: Axes, start: Point, end: Point, *, over: bool = False) -> None:
    """A line; `over` leaves a gap in the lines that it crosses and that were drawn before."""
    halo = [withStroke(linewidth=7, foreground=INSIDE)] if over else []
    places = zip(start, end, strict=True)
    axes.plot(*places, color=INK, linewidth=1.4, solid_capstyle="projecting", snap=False, path_effects=halo)


def _arrow(axes: Axes, start: Point, end: Point, *, over: bool = False) -> None:
    near_end = ((start[0] + 3 * end[0]) / 4, (start[1] + 3 * end[1]) / 4)
    _line(axes, start, near_end, over=over)
    style = {"arrowstyle": "-|>", "color": INK, "lw": 1.4, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, near_end, arrowprops=style)


def _label(axes: Axes, place: Point, text: str) -> None:
    axes.text(*place, text, ha="center", va="center", fontsize=12)
