"""What a person should see of a translator: its attention, and its best and worst translations.

Drawn in matplotlib's own font, so that the pictures are the same on every machine. It has no Han characters, and
matplotlib writes nothing from right to left: such sentences are not chosen for attention, and the table has boxes in
their place.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache
from textwrap import wrap

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.transforms import Bbox

from ..data.tokenizer import END, SubwordTokenizer, Tokenizer
from ..model.network import Translator, make_batch
from .scoring import nearest_reference

_COLUMN, _MOST_LINES = 48, 5  # characters in a line of a cell, and its lines
_LINE_HEIGHT, _TOKEN_HEIGHT = 0.15, 0.19  # inches, of a cell's line and of a row of attention
_WORD = "▁"  # a subword with this begins a word (see `SubwordTokenizer`)
_UNDRAWABLE = "□"
_MOST_TOKENS = 40  # of a sentence whose attention is drawn: more cannot be read


def alignments(
    network: Translator,
    sources: Sequence[np.ndarray],
    translations: Sequence[Sequence[int]],
    texts: Sequence[str],
    tokenizers: tuple[Tokenizer, Tokenizer],
    *,
    count: int,
) -> Figure:
    """Attention of `count` sentences, taken evenly from the texts in alphabetical order: a row for each token that the
    network wrote, a column for each that it read; black is all of its attention.
    """
    readable = [
        i
        for i in _in_order(texts)
        if drawable(texts[i]) and len(sources[i]) <= _MOST_TOKENS and len(translations[i]) <= _MOST_TOKENS
    ]
    chosen = _evenly(readable, count)
    columns = min(2, max(1, len(chosen)))
    rows = [chosen[start : start + columns] for start in range(0, len(chosen), columns)] or [[]]
    # A row of pictures is as high as its longest translation needs, with the end token and the names of what was read.
    heights = [_TOKEN_HEIGHT * max((len(translations[i]) for i in row), default=0) + 1.4 for row in rows]
    figure = Figure(figsize=(7.0 * columns, sum(heights) + 0.5), layout="constrained")
    goes_on = "; + goes on with a word" if isinstance(tokenizers[0], SubwordTokenizer) else ""
    shades = "black is 1, white 0"
    figure.suptitle(f"Attention of each output token (rows) to the input tokens (columns): {shades}{goes_on}")
    grid = figure.add_gridspec(len(rows), columns, height_ratios=heights)
    for index, i in enumerate(chosen):
        axes = figure.add_subplot(grid[index // columns, index % columns])
        read = _labels(tokenizers[0].pieces(sources[i].tolist()))
        written = _labels(tokenizers[1].pieces([*translations[i], END]))
        _draw_attention(axes, _attention(network, sources[i], translations[i]), read, written)
    return figure


def translations(
    texts: Sequence[str],
    references: Sequence[Sequence[str]],
    hypotheses: Sequence[str],
    nearest: Sequence[tuple[str, float]],
    *,
    rows: int,
) -> Figure:
    """The worst and the best translations by chrF, and every one's source and most alike reference; `nearest` are these
    references, each with its chrF.
    """
    values = [value for _, value in nearest]
    order = sorted(range(len(texts)), key=lambda i: (values[i], texts[i]))
    worst, others = order[: min(rows, len(order) // 2)], order[len(order) // 2 :]
    # Many may be perfect: then these are taken evenly, so that they are not all alike.
    perfect = [i for i in others if values[i] == values[others[-1]]]
    best = _evenly(perfect, rows) if len(perfect) > rows else others[-rows:][::-1]
    cells = [
        [_cell(texts[i]), _cell(_reference(nearest[i][0], references[i])), _cell(hypotheses[i]), f"{values[i]:.0f}"]
        for i in [*worst, *best]
    ]
    title = (
        f"The {len(worst)} worst and {len(best)} of the best translations among {len(order)}, by chrF; "
        f"{_UNDRAWABLE} is a character that this font lacks"
    )
    columns = {"source": 0.315, "reference": 0.315, "translation": 0.315, "chrF": 0.055}
    return _table(title, columns, cells, tinted=len(worst))


def n_best(
    texts: Sequence[str], references: Sequence[Sequence[str]], lists: Sequence[Sequence[tuple[str, float]]]
) -> Figure:
    """The best translations that search found; `lists` are each text's with their scores, best first."""
    cells = []
    for text, allowed, hypotheses in zip(texts, references, lists, strict=True):
        nearest = nearest_reference(hypotheses[0][0], allowed)[0]
        for rank, (hypothesis, score) in enumerate(hypotheses, start=1):
            known = [_cell(text), _cell(_reference(nearest, allowed))] if rank == 1 else ["", ""]
            cells.append([*known, f"{rank}", _cell(hypothesis), f"{score:.3g}"])
    title = f"{len(texts)} sentences and the best translations that search found, with their scores"
    return _table(title, {"source": 0.3, "reference": 0.3, "": 0.03, "translation": 0.31, "score": 0.06}, cells)


def alphabetically(texts: Sequence[str], count: int) -> list[int]:
    """The numbers of `count` texts, taken evenly from the texts in alphabetical order."""
    return _evenly(_in_order(texts), count)


def drawable(text: str) -> bool:
    """Whether matplotlib's own font can write the text as it should look."""
    return all(_has_glyph(character) for character in text)


@cache
def _has_glyph(character: str) -> bool:
    left_to_right = unicodedata.bidirectional(character) not in ("R", "AL", "AN")
    return left_to_right and get_font(findfont("DejaVu Sans")).get_char_index(ord(character)) != 0


def _in_order(texts: Sequence[str]) -> list[int]:
    return sorted(range(len(texts)), key=lambda i: texts[i])


def _evenly(numbers: Sequence[int], count: int) -> list[int]:
    """`count` of the numbers, none of them the first or the last where there are more."""
    steps = np.linspace(0, len(numbers) - 1, count + 2).round().astype(int)[1:-1]
    return [numbers[i] for i in np.unique(steps)] if numbers else []


def _attention(network: Translator, source: np.ndarray, translation: Sequence[int]) -> np.ndarray:
    """`(written tokens with the end, read tokens)`, rows sum to 1."""
    batch = make_batch([source], [np.array(translation, dtype=np.int64)]).to(next(network.parameters()).device)
    with torch.inference_mode():
        return network.alignments(batch)[0].cpu().numpy()


def _draw_attention(axes: Axes, weights: np.ndarray, read: Sequence[str], written: Sequence[str]) -> None:
    axes.imshow(weights, cmap="Greys", vmin=0, vmax=1, aspect="auto")
    long = max(map(len, read[1:]), default=1) > 1
    axes.set_xticks(np.arange(len(read)), read, rotation=90 if long else 0)
    axes.get_xticklabels()[0].set_rotation(90)
    axes.set_yticks(np.arange(len(written)), written)
    axes.tick_params(labelsize=9, length=0)


def _labels(pieces: Sequence[str]) -> list[str]:
    """Tokens as a person reads them: a subword that goes on with a word begins with a +, a space is ␣."""
    subwords = any(piece.startswith(_WORD) for piece in pieces)
    labels = []
    for piece in pieces:
        goes_on = subwords and piece[0].isalnum()
        label = f"+{piece}" if goes_on else piece.removeprefix(_WORD).replace(" ", "␣") or "␣"
        labels.append(_plain(label))
    return labels


def _table(title: str, columns: dict[str, float], cells: Sequence[Sequence[str]], *, tinted: int = 0) -> Figure:
    """A table with rows as high as their texts; `columns` are shares of the width, the first `tinted` rows coloured."""
    lines = [1, *(max(text.count("\n") + 1 for text in row) for row in cells)]
    heights = np.array([_LINE_HEIGHT * count + 0.12 for count in lines])  # inches
    figure = Figure(figsize=(13.0, heights.sum() + 0.5))
    share = heights.sum() / figure.get_figheight()
    axes = figure.add_axes((0.01, 0.01, 0.98, share - 0.01))
    axes.axis("off")
    axes.set_title(title)
    widths = list(columns.values())
    table = axes.table(cellText=cells, colLabels=list(columns), colWidths=widths, cellLoc="left", bbox=Bbox.unit())
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    for (row, column), cell in table.get_celld().items():
        cell.set_height(heights[row] / heights.sum())
        cell.set_edgecolor("0.8")
        cell.PAD = 0.006 / widths[column]
        if row == 0:
            cell.set_text_props(weight="bold")
        elif row <= tinted:
            cell.set_facecolor("#fbeee6")
    return figure


def _reference(nearest: str, references: Sequence[str]) -> str:
    """The reference that is most alike, and how many there are."""
    return nearest if len(references) == 1 else f"{nearest} (nearest of {len(references)})"


def _cell(text: str) -> str:
    drawn = "".join(character if _has_glyph(character) else _UNDRAWABLE for character in text)
    return _plain("\n".join(wrap(drawn, _COLUMN, max_lines=_MOST_LINES, placeholder=" …")))


def _plain(text: str) -> str:
    return text.replace("$", r"\$")  # a dollar would start a formula
