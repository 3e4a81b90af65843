"""The pages on one's own data as they stand in docs/: the first lines of a file, continued to a whole, and edits."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from stages.tasks.video.source.sample import encode

DOCS = Path(__file__).parents[1] / "docs"
TASKS = ("sketch", "video", "translation", "forecast")
DAYS, PAIRS, DRAWINGS = 900, 2000, 200


@dataclass(frozen=True)
class Page:
    """What stands in the fenced blocks of a page."""

    text: str
    example: str  # the first lines of a file
    edits: str  # of params.yaml, in YAML
    short: str  # further ones, for a short series
    commands: list[str]
    said: list[str]  # the last line of preprocess: where all is well, and where it is not

    def params(self, data: Path) -> dict[str, Any]:
        """The edits, for files in `data` in place of /data."""
        return yaml.safe_load(self.edits.replace("file:///data", data.as_uri()))


def page(task: str) -> Page:
    """The page of a task."""
    text = (DOCS / f"own-data-{task}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    (_, example), *others = blocks
    found = {kind: [block for name, block in others if name == kind] for kind in ("yaml", "sh", "text")}
    edits, short = (*found["yaml"], "")[:2]
    commands = [line.partition("#")[0].strip() for block in found["sh"] for line in block.splitlines()]
    return Page(text, example, edits, short, commands, [block.strip() for block in found["text"]])


def write(task: str, example: str, data: Path, *, fault: bool = False) -> None:
    """The whole of what begins with `example`, below `data`, with a blemish or two, as files have them; with the
    `fault` that the page's second line tells of, if that is one of the files.
    """
    data.mkdir()
    {"sketch": _drawings, "video": _clips, "translation": _pairs, "forecast": _sales}[task](example, data, fault)


def _sales(example: str, data: Path, fault: bool) -> None:
    lines = example.splitlines()
    dice = random.Random(1)
    first = datetime(2023, 1, 2)
    for number in range(len(lines) - 1, 2 * DAYS):
        day, shop = divmod(number, 2)
        value = (300, 1200)[1 - shop] * (1 + 0.2 * ((day % 7) in (4, 5)) + 0.05 * dice.random())
        written = f"{value:,.2f}".translate(str.maketrans(",.", ".,"))
        lines.append(f"{first + timedelta(day):%d.%m.%Y};{('Köln', 'Mülheim')[shop]};{written}")
    lines[700] = lines[700].rpartition(";")[0] + ";closed"
    del lines[1500]
    (data / "sales.csv").write_text("\n".join(lines) + "\n", encoding="cp1252")


def _pairs(example: str, data: Path, fault: bool) -> None:
    lines = example.splitlines()
    things = [
        ("door", "Tür"),
        ("key", "Schlüssel"),
        ("train", "Zug"),
        ("book", "Buch"),
        ("shop", "Laden"),
        ("bread", "Brot"),
    ]
    for number in range(len(lines), PAIRS):
        (one, eins), (two, zwei) = things[number % 6], things[number // 6 % 6]
        lines.append(f"{number} {one} and {two}.\t{number} {eins} und {zwei}.\tauthor {number % 40}")
    lines[1200] = lines[300]
    (data / "pairs.tsv").write_text("\n".join(lines) + "\n", encoding="cp1252" if fault else "utf-8")


def _drawings(example: str, data: Path, fault: bool) -> None:
    folder = data / "drawings/full/simplified"
    folder.mkdir(parents=True)
    dice = random.Random(1)
    corners = {"square": [(0, 0), (255, 0), (255, 255), (0, 255)], "triangle": [(128, 0), (255, 255), (0, 255)]}
    for word, places in corners.items():
        lines = example.splitlines() if word == "square" else []
        for number in range(len(lines), DRAWINGS):
            points = [(abs(x - dice.randrange(20)), abs(y - dice.randrange(20))) for x, y in [*places, places[0]]]
            record = {"word": word, "key_id": f"{word} {number}", "person": f"person {number % 20}"}
            lines.append(json.dumps({**record, "drawing": [[list(axis) for axis in zip(*points, strict=True)]]}))
        if word == "triangle":
            lines[150] = '{"word": "triangle", "drawing": []}'
        if fault:
            lines = [json.dumps({**json.loads(line), "person": "ann"}) for line in lines]
        (folder / f"{word}.ndjson").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _clips(example: str, data: Path, fault: bool) -> None:
    (data / "clips").mkdir()
    (data / "clips/notes.txt").write_text("who, when and where", encoding="utf-8")
    for name in _names(example.split()):
        if fault and "/ann/" not in name:
            continue
        path = data / "clips" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        frames = np.zeros((10, 32, 32, 3), dtype=np.uint8)
        for time, frame in enumerate(frames):
            bar = slice(3 * time, 3 * time + 3)
            frame[(bar, slice(None)) if name.startswith("nod") else (slice(None), bar)] = 200
        encode(frames, path)


def _names(first: list[str]) -> Iterator[str]:
    yield from first
    people = ("ann", "ben", "cleo", "dan", "eve", "finn")
    every = [f"{c}/{person}/{n:04d}.mp4" for c in ("nod", "wave") for person in people for n in range(1, 5)]
    yield from (name for name in every if name not in first)
