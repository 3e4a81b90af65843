"""Pictures for Prefect's pages: learning curves, and what `evaluate` drew, small enough to lie in a database.

Prefect shows a picture in Markdown from a data URI, so that a browser needs nothing but Prefect's server.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stages.training.learning_curve import REFIT, read

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LIMIT = 300_000  # characters of Markdown with pictures

_SIZES = ((900, 85), (760, 75), (600, 65), (450, 50))  # pixels of width and WebP's quality, tried in this order
_PANELS = 3
_PANEL_SIZE = (3.6, 2.8)  # inches
_TRAIN, _VALIDATION = "train_", "validation_"
_LINES = (_TRAIN, _VALIDATION, f"{REFIT}{_TRAIN}")


def of_folder(training: Path | None, folder: Path | None) -> str:
    """Markdown with the learning curve of a `training.csv` and all pictures of a folder; empty where there are none."""
    pictures: dict[str, bytes] = {}
    if training is not None and training.is_file():
        pictures["learning curve"] = _png(learning_curve(read(training)))
    if folder is not None and folder.is_dir():
        pictures |= {path.stem.replace("_", " "): path.read_bytes() for path in sorted(folder.glob("*.png"))}
    return markdown(pictures) if pictures else ""


def learning_curve(rows: Sequence[Mapping[str, float]]) -> Figure:
    """A panel for each thing that is measured on both splits, the loss first; a refit is a third line."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    measured = [name.removeprefix(_VALIDATION) for name in rows[0] if name.startswith(_VALIDATION)]
    both = sorted((name for name in measured if _TRAIN + name in rows[0]), key=lambda name: (name != "loss", name))
    shown = both[:_PANELS]
    figure = Figure(figsize=(_PANEL_SIZE[0] * max(len(shown), 1), _PANEL_SIZE[1]), dpi=100, layout="constrained")
    for place, name in enumerate(shown, start=1):
        axes = figure.add_subplot(1, len(shown), place)
        for prefix in _LINES:
            points = [(row["epoch"], row[prefix + name]) for row in rows if prefix + name in row]
            if points:
                axes.plot(*zip(*points, strict=True), marker=".", label=prefix.rstrip("_").replace("_", ", "))
        axes.set_title(name.replace("_", " "), fontsize=10)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(fontsize=8)
    return figure


def markdown(pictures: Mapping[str, bytes]) -> str:
    """PNGs by title, as Markdown of at most LIMIT characters: as large as that allows."""
    for width, quality in _SIZES:
        text = "\n\n".join(
            f"**{title}**\n\n![{title}]({_data_uri(content, width, quality)})" for title, content in pictures.items()
        )
        if len(text) <= LIMIT:
            return text
    return f"The pictures ({', '.join(pictures)}) are too large to show here."


def _data_uri(content: bytes, width: int, quality: int) -> str:
    from PIL import Image

    with Image.open(io.BytesIO(content)) as picture:
        image = picture.convert("RGB")
    if image.width > width:
        image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=quality)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
