"""The picture of all tasks, light and dark: the pipeline, and below it an answer of each network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import dates
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from flows.demo.strokes import Stroke

from . import answers
from .answers import Alignment, Clip, Drawn, Fan, Guess

WIDTH, HEIGHT, DPI = 9.4, 6.15, 190  # inches; pixels an inch, twice what a page shows
_PAD = 0.16  # inches round a panel and between two
_BAND = 1.3  # height of the pipeline
_TITLE = 0.54  # height of a panel's two lines of text
_CLASSES_SHOWN = 3  # lines of a clip's beliefs
_LOWER, _UPPER = 2.3, HEIGHT - _BAND - 2.3 - 3 * _PAD  # heights of the two rows of panels
_FRAMES = 6  # of a clip
_COLUMNS = 6  # of drawn drawings

# A verb of dvc.yaml and what it leaves behind.
VERBS = (
    ("download", "raw files, their\nversions pinned"),
    ("preprocess", "one sequence store,\nrejects with reasons"),
    ("train", "weights; goes on\nafter any kill"),
    ("evaluate", "95 % intervals,\nbaselines, pictures"),
    ("register", "becomes champion\nif it is better"),
)
PROGRAMS = (
    "DVC decides what must run",
    "Prefect runs it, here or on workers",
    "PyTorch trains",
    "MLflow serves the champion",
)


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours of a page that is light or dark."""

    page: str
    panel: str
    edge: str
    text: str
    muted: str
    accent: str
    second: str
    wrong: str


THEMES = {
    "light": Theme("#ffffff", "#f6f8fa", "#d0d7de", "#1f2328", "#59636e", "#0d9488", "#c2410c", "#c2410c"),
    "dark": Theme("#0d1117", "#151b23", "#3d444d", "#f0f6fc", "#9198a1", "#2dd4bf", "#fb923c", "#fb923c"),
}


def figures() -> dict[str, Figure]:
    """The picture by theme."""
    asked = (answers.guesses(), answers.clip(), answers.alignment(), answers.fan(), answers.drawn())
    return {name: _figure(theme, *asked) for name, theme in THEMES.items()}


def _figure(
    theme: Theme, guesses: list[Guess], clip: Clip, alignment: Alignment, fan: Fan, drawn: list[Drawn]
) -> Figure:
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, facecolor=theme.page)
    sheet = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, HEIGHT))
    sheet.set_axis_off()
    _pipeline(sheet, theme)
    lower, upper = _PAD, 2 * _PAD + _LOWER
    inner = WIDTH - 2 * _PAD

    def panel(
        left: float, bottom: float, width: float, head: str, line: str, draw: Callable[..., None], *what: object
    ) -> None:
        row = _LOWER if bottom == lower else _UPPER
        _frame(sheet, theme, left, bottom, width, row, head, line)
        draw(figure, theme, (left + 0.12, bottom + 0.1, width - 0.24, row - _TITLE - 0.14), *what)

    first, second = 2.85, 2.85
    third = inner - first - second - 2 * _PAD
    panel(_PAD, upper, first, "sketch", "strokes → class, guessed as it is drawn", _sketch, guesses)
    panel(2 * _PAD + first, upper, second, "video", "frames → class, frame by frame", _video, clip)
    panel(
        3 * _PAD + first + second,
        upper,
        third,
        "translation",
        "text → text, and where it looks",
        _translation,
        alignment,
    )
    half = (inner - _PAD) / 2
    panel(_PAD, lower, half, "forecast", "days → the next seven", _forecast, fan)
    panel(
        2 * _PAD + half,
        lower,
        half,
        "drawing",
        "class → strokes, drawn by the network (?: not recognised)",
        _drawing,
        drawn,
    )
    return figure


def _pipeline(sheet: Axes, theme: Theme) -> None:
    """Boxes from a source to the registry."""
    top, height = HEIGHT - 0.2, 0.4
    ends = 1.06  # width of the two at the ends
    gap = 0.2
    width = (WIDTH - 2 * _PAD - 2 * ends - 6 * gap) / len(VERBS)
    boxes = [("your data", "or the samples\nthat are built in", ends, False)]
    boxes += [(verb, leaves, width, True) for verb, leaves in VERBS]
    boxes += [("MLflow", "models:/NAME\n@champion", ends, False)]
    left = _PAD
    for number, (name, below, wide, is_stage) in enumerate(boxes):
        _box(
            sheet,
            left,
            top - height,
            wide,
            height,
            theme.accent if is_stage else theme.panel,
            theme.accent if is_stage else theme.edge,
        )
        sheet.text(
            left + wide / 2,
            top - height / 2,
            name,
            ha="center",
            va="center",
            fontsize=10.5,
            fontweight="bold",
            color=theme.page if is_stage else theme.text,
        )
        sheet.text(
            left + wide / 2,
            top - height - 0.1,
            below,
            ha="center",
            va="top",
            fontsize=7.6,
            color=theme.muted,
            linespacing=1.35,
        )
        left += wide
        if number < len(boxes) - 1:
            sheet.annotate(
                "",
                (left + gap - 0.02, top - height / 2),
                (left + 0.02, top - height / 2),
                arrowprops={
                    "arrowstyle": "-|>",
                    "color": theme.muted,
                    "linewidth": 1.1,
                    "shrinkA": 0,
                    "shrinkB": 0,
                    "mutation_scale": 9,
                },
            )
            left += gap
    sheet.text(
        WIDTH / 2,
        HEIGHT - _BAND + 0.02,
        "  ·  ".join(PROGRAMS),
        ha="center",
        va="bottom",
        fontsize=8.6,
        color=theme.text,
    )


def _box(sheet: Axes, left: float, bottom: float, width: float, height: float, face: str, edge: str) -> None:
    rounding = 0.07
    style = f"round,pad=0,rounding_size={rounding}"
    sheet.add_patch(
        FancyBboxPatch((left, bottom), width, height, boxstyle=style, facecolor=face, edgecolor=edge, linewidth=1)
    )


def _frame(
    sheet: Axes, theme: Theme, left: float, bottom: float, width: float, height: float, head: str, line: str
) -> None:
    _box(sheet, left, bottom, width, height, theme.panel, theme.edge)
    sheet.text(
        left + 0.14,
        bottom + height - 0.13,
        head,
        ha="left",
        va="top",
        fontsize=10.5,
        fontweight="bold",
        color=theme.accent,
    )
    sheet.text(left + 0.14, bottom + height - 0.34, line, ha="left", va="top", fontsize=8.2, color=theme.muted)


Box = tuple[float, float, float, float]  # left, bottom, width, height in inches


def _axes(figure: Figure, box: Box, theme: Theme) -> Axes:
    left, bottom, width, height = box
    axes = figure.add_axes((left / WIDTH, bottom / HEIGHT, width / WIDTH, height / HEIGHT), facecolor="none")
    axes.tick_params(colors=theme.muted, labelsize=7, length=0, pad=3)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def _strokes(axes: Axes, strokes: Sequence[Stroke], colour: str, *, of: Sequence[Stroke], linewidth: float) -> None:
    """Strokes in a square that holds the drawing `of` which they are the beginning."""
    xs = np.concatenate([stroke[0] for stroke in of])
    ys = np.concatenate([stroke[1] for stroke in of])
    for stroke in strokes:
        axes.plot(
            stroke[0], stroke[1], color=colour, linewidth=linewidth, solid_capstyle="round", solid_joinstyle="round"
        )
    half = max(np.ptp(xs), np.ptp(ys)) / 2 * 1.12
    middle = ((xs.min() + xs.max()) / 2, (ys.min() + ys.max()) / 2)
    axes.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] + half, middle[1] - half), aspect="equal")
    axes.set_axis_off()


def _sketch(figure: Figure, theme: Theme, box: Box, guesses: list[Guess]) -> None:
    left, bottom, width, height = box
    side = width / len(guesses)
    whole = guesses[-1]
    for number, guess in enumerate(guesses):
        axes = _axes(figure, (left + number * side, bottom + 0.42, side, height - 0.42), theme)
        _strokes(axes, guess.strokes, theme.text, of=whole.strokes, linewidth=1.9)
        right = guess.label == whole.label
        under = _axes(figure, (left + number * side, bottom, side, 0.42), theme)
        under.set_axis_off()
        under.text(
            0.5,
            0.72,
            guess.label,
            ha="center",
            va="center",
            fontsize=9.5,
            fontweight="bold",
            color=theme.accent if right else theme.wrong,
        )
        under.text(0.5, 0.24, f"{guess.probability:.2f}", ha="center", va="center", fontsize=8, color=theme.muted)


def _video(figure: Figure, theme: Theme, box: Box, clip: Clip) -> None:
    left, bottom, width, height = box
    shown = np.linspace(0, len(clip.frames) - 1, _FRAMES).round().astype(int)
    gap = 0.04
    side = (width - gap * (_FRAMES - 1)) / _FRAMES
    for number, frame in enumerate(shown):
        axes = _axes(figure, (left + number * (side + gap), bottom + height - side, side, side), theme)
        axes.imshow(clip.frames[frame], cmap="gray", vmin=0, vmax=255)
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(visible=True, color=theme.edge, linewidth=0.7)
    axes = _axes(figure, (left + 0.22, bottom + 0.1, width - 0.22, height - side - 0.2), theme)
    likeliest = sorted(clip.beliefs, key=lambda name: -max(clip.beliefs[name]))
    others = [name for name in likeliest if name != clip.label][: _CLASSES_SHOWN - 1]
    times = np.arange(1, len(clip.frames) + 1)
    for name in (*others, clip.label):
        colour, line = (theme.accent, 2.0) if name == clip.label else (theme.muted, 1.0)
        axes.plot(times, clip.beliefs[name], color=colour, linewidth=line, solid_capstyle="round")
    axes.text(times[-1], 0.9, clip.label, ha="right", va="top", fontsize=9, fontweight="bold", color=theme.accent)
    peak = others[0]
    at = int(np.argmax(clip.beliefs[peak]))
    axes.text(times[at], clip.beliefs[peak][at] + 0.05, peak, ha="center", va="bottom", fontsize=7.5, color=theme.muted)
    axes.set(xlim=(1, times[-1]), ylim=(0, 1.06), yticks=(0, 1), xticks=[])
    axes.axhline(0, color=theme.edge, linewidth=0.8)


def _translation(figure: Figure, theme: Theme, box: Box, alignment: Alignment) -> None:
    left, bottom, width, height = box
    axes = _axes(figure, (left + 0.2, bottom + 0.02, width - 0.2, height - 0.24), theme)
    shades = LinearSegmentedColormap.from_list("attention", [theme.panel, theme.accent])
    axes.imshow(alignment.weights, cmap=shades, vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(
        range(len(alignment.read)), [token.replace(" ", "") for token in alignment.read], fontsize=7.6, color=theme.text
    )
    axes.set_yticks(
        range(len(alignment.written)),
        [token.replace("</s>", "end") for token in alignment.written],
        fontsize=7.6,
        color=theme.text,
    )
    axes.xaxis.tick_top()
    axes.get_xticklabels()[0].set_fontsize(6.2)


def _forecast(figure: Figure, theme: Theme, box: Box, fan: Fan) -> None:
    left, bottom, width, height = box
    axes = _axes(figure, (left + 0.24, bottom + 0.16, width - 0.3, height - 0.12), theme)
    days, values = zip(*fan.history, strict=True)
    ahead = fan.ahead
    axes.plot(days, values, color=theme.text, linewidth=1.3)
    joined = [days[-1], *ahead["ds"]]
    axes.fill_between(
        joined, [values[-1], *ahead["q05"]], [values[-1], *ahead["q95"]], color=theme.accent, alpha=0.25, linewidth=0
    )
    axes.plot(joined, [values[-1], *ahead["predicted"]], color=theme.accent, linewidth=2)
    axes.plot(ahead["ds"], ahead["actual"], ".", color=theme.second, markersize=6, clip_on=False)
    axes.axvline(days[-1], color=theme.edge, linewidth=0.8, linestyle=(0, (3, 3)))
    axes.xaxis.set_major_locator(dates.MonthLocator())
    axes.xaxis.set_major_formatter(dates.DateFormatter("%-d %b %Y"))
    axes.set_yticks(axes.get_yticks()[1:-1:2], [f"{tick:g} °C" for tick in axes.get_yticks()[1:-1:2]])
    axes.grid(axis="y", color=theme.edge, linewidth=0.6)
    axes.set_xlim(days[0], ahead["ds"].iloc[-1])
    legend = [
        (0.455, "known", theme.text),
        (0.8, "forecast, 90 % band", theme.accent),
        (1.0, "what came", theme.second),
    ]
    for at, label, colour in legend:
        axes.text(at, 1.07, label, transform=axes.transAxes, fontsize=8, fontweight="bold", color=colour, ha="right")


def _drawing(figure: Figure, theme: Theme, box: Box, drawn: list[Drawn]) -> None:
    left, bottom, width, height = box
    rows = -(-len(drawn) // _COLUMNS)
    wide, high = width / _COLUMNS, height / rows
    for number, one in enumerate(drawn):
        row, column = divmod(number, _COLUMNS)
        under = 0.17
        axes = _axes(
            figure, (left + column * wide, bottom + (rows - 1 - row) * high + under, wide, high - under - 0.03), theme
        )
        _strokes(axes, one.strokes, theme.text, of=one.strokes, linewidth=1.2)
        right = one.taken_for == one.label
        axes.text(
            0.5,
            -0.02,
            one.label if right else f"{one.label}?",
            transform=axes.transAxes,
            ha="center",
            va="top",
            fontsize=7.8,
            color=theme.accent if right else theme.wrong,
        )
