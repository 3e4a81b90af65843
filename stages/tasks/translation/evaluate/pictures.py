"""What a person should see of a translator: where it looked, and its best and worst translations.

Drawn in matplotlib's own font, so that the pictures are the same on every machine. It has no Han characters, and
matplotlib writes nothing from right to left: such sentences are not chosen for attention, and the table has boxes in
their place.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.transforms import Bbox
from sacrebleu.metrics import CHRF

from ..model.network import Translator, make_batch
from ..prepare.tokenizer import END, Tokenizer

_COLUMN = 44  # characters that a cell of the table shows
_UNDRAWABLE = "□"
_MOST_TOKENS = 40  # of a sentence whose attention is drawn: more cannot be read


def alignments(
    network: Translator,
    sources: Sequence[np.ndarray],
    answers: Sequence[Sequence[int]],
    texts: Sequence[str],
    tokenizers: tuple[Tokenizer, Tokenizer],
    *,
    count: int,
) -> Figure:
    """Attention of `count` sentences, taken evenly from the texts in alphabetical order: a row for each token that the
    network wrote, a column for each that it read; black is all of its attention.
    """
    readable = [
        place
        for place in sorted(range(len(texts)), key=lambda place: (texts[place], place))
        if drawable(texts[place]) and len(sources[place]) <= _MOST_TOKENS and len(answers[place]) <= _MOST_TOKENS
    ]
    chosen = _evenly(readable, count)
    columns = min(2, max(1, len(chosen)))
    rows = max(1, -(-len(chosen) // columns))
    figure = Figure(figsize=(7.0 * columns, 4.4 * rows), layout="constrained")
    figure.suptitle("Attention: what was read (columns) for each token that was written (rows)")
    for index, place in enumerate(chosen):
        axes = figure.add_subplot(rows, columns, index + 1)
        weights = _weights(network, sources[place], answers[place])
        axes.imshow(weights, cmap="Greys", vmin=0, vmax=1, aspect="auto")
        read = tokenizers[0].pieces(sources[place].tolist())
        written = tokenizers[1].pieces([*answers[place], END])
        long = max(map(len, read[1:]), default=1) > 1
        axes.set_xticks(np.arange(len(read)), [_visible(piece) for piece in read], rotation=90 if long else 0)
        axes.get_xticklabels()[0].set_rotation(90)
        axes.set_yticks(np.arange(len(written)), [_visible(piece) for piece in written])
        axes.tick_params(labelsize=9, length=0)
    return figure


def translations(
    texts: Sequence[str], references: Sequence[Sequence[str]], outputs: Sequence[str], *, rows: int
) -> Figure:
    """The worst and the best translations by chrF, and every one's source and first reference."""
    metric = CHRF()
    values = [metric.sentence_score(output, allowed).score for output, allowed in zip(outputs, references, strict=True)]
    firsts = [allowed[0] for allowed in references]
    order = sorted(range(len(texts)), key=lambda place: (values[place], texts[place], place))
    worst, others = order[: min(rows, len(order) // 2)], order[len(order) // 2 :]
    # Many may be perfect: then these are taken evenly, so that they are not all alike.
    perfect = [place for place in others if values[place] == values[others[-1]]]
    best = _evenly(perfect, rows) if len(perfect) > rows else others[-rows:][::-1]
    cells = [
        [*(_cell(column[place]) for column in (texts, firsts, outputs)), f"{values[place]:.0f}"]
        for place in [*worst, *best]
    ]
    figure = Figure(figsize=(13.0, 0.29 * (len(cells) + 1) + 0.5))
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.99 - 0.5 / figure.get_figheight()))
    axes.axis("off")
    title = f"The {len(worst)} worst and {len(best)} of the best translations among {len(order)}, by chrF"
    axes.set_title(f"{title}; {_UNDRAWABLE} is a character that this font lacks")
    table = axes.table(
        cellText=cells,
        colLabels=["source", "reference", "translation", "chrF"],
        colWidths=[0.31, 0.31, 0.31, 0.07],
        cellLoc="left",
        bbox=Bbox.unit(),
    )
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    for (row, _), cell in table.get_celld().items():
        cell.set_edgecolor("0.8")
        cell.PAD = 0.02
        if row == 0:
            cell.set_text_props(weight="bold")
        elif row <= len(worst):
            cell.set_facecolor("#fbeee6")
    return figure


def drawable(text: str) -> bool:
    """Whether matplotlib's own font can write the text as it should look."""
    return all(_has_glyph(character) for character in text)


@cache
def _has_glyph(character: str) -> bool:
    left_to_right = unicodedata.bidirectional(character) not in ("R", "AL", "AN")
    return left_to_right and get_font(findfont("DejaVu Sans")).get_char_index(ord(character)) != 0


def _weights(network: Translator, source: np.ndarray, answer: Sequence[int]) -> np.ndarray:
    """`(written tokens with the end, read tokens)`, rows sum to 1."""
    batch = make_batch([source], [np.array(answer, dtype=np.int64)]).to(next(network.parameters()).device)
    with torch.inference_mode():
        return network.alignments(batch)[0].cpu().numpy()


def _visible(piece: str) -> str:
    return "␣" if piece == " " else piece.replace("$", r"\$")  # a dollar would start a formula


def _evenly(places: Sequence[int], count: int) -> list[int]:
    """`count` of the places, none of them the first or the last where there are more."""
    steps = np.linspace(0, len(places) - 1, count + 2).round().astype(int)[1:-1]
    return [places[i] for i in np.unique(steps)] if places else []


def _cell(text: str) -> str:
    shown = "".join(character if _has_glyph(character) else _UNDRAWABLE for character in text)
    return (shown if len(shown) <= _COLUMN else f"{shown[: _COLUMN - 1]}…").replace("$", r"\$")
