"""Numbers of the pages come from files that a command wrote, and stand there as they were measured."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.documentation import PAGES, REPOSITORY

LABELS = ("data", "change", "stretches", "series", "year")
NUMBERS = (
    *("ours", "theirs", "times, by processor time", "MASE", "processor seconds"),
    *("processes", "1 node", "2 nodes"),
    *("drift", "warning or drift"),
    *("MAE", "MAE, held back", "MAE, refit", "in the 90 % band, held back", "in the 90 % band, refit", "saved"),
    *("padding", "waiting"),
    *("accuracy", "error", "lightgbm", "saved, lightgbm", "ridge", "saved, ridge", "saved, the better"),
)
ALSO_SHOWN = {
    "forecast-short.json": ("network", "seasonal naive", "ridge", "in the 90 % band"),
    "serving.json": ("one row, p50 ms", "p95 ms", "rows/s (series/s)", "import, s", "load, s", "first answer, s"),
    "serving-image.json": ("as installed, MB", "without CUDA, MB", "of that torch, MB"),
    "forecast-kinds.json": ("MAE of 2017", "weights", "training, s"),
    "forecast-global.json": (
        *("MAE, cta", "MAE, seattle", "MAE, melbourne", "MAE, births"),
        *("forecasts", "to train, forecast and score, s", "MASE of seasonal naive", "fits of AutoETS in that time"),
    ),
    "flows.json": (
        *("seconds", "times dvc repro", "times one at a time"),
        *("command, s", "run, s", "command, s more", "run, s more"),
    ),
    "neighbour.json": ("alone, ms", "beside, ms"),
    "preprocess.json": (
        *("a_second", "times_tutorial", "times_tutorial_in_processor_time"),
        *("times_tutorial, arrays only", "times_bare parse"),
    ),
    "preprocess-scale.json": (
        *("seconds", "processor_seconds", "peak_megabytes", "anonymous_megabytes", "mapped_megabytes"),
        "peak_megabytes_of_a_worker",
    ),
    "preprocess-grown.json": ("added", "from_nothing", "share"),
    "training.json": (
        *("sequences_per_second", "test_accuracy", "best_test_accuracy"),
        *("bare_milliseconds_a_step", "engine_milliseconds_a_step"),
        *("one_rank_sequences_per_second", "two_ranks_sequences_per_second", "throughput_ratio"),
    ),
    "training-memory.json": (
        *("peak_megabytes", "anonymous_megabytes", "store_megabytes"),
        *("seconds_to_open", "seconds_to_first_step"),
    ),
    "sketch-six-classes.json": ("recognised",),
    "sketch-comparisons.json": ("top-1",),
    "video.json": (
        *("of the processor, s", "accuracy, the first", "accuracy, the lowest loss", "loss"),
        *("accuracy, the last", "the last epoch"),
    ),
    "translation-sizes.json": ("BLEU", "chrF", "nearest's BLEU", "nearest's chrF"),
    "decode.json": ("times_bare", "times_bare_in_processor_time"),
}
NOT_SHOWN = {  # of rows that were written as text: their other cells are all shown
    *("level, 1 σ, in 14 days", "level of the series, 2 σ, in 14 days", "level of the series, 1 σ, in 28 days"),
    *("optimal, one side, 14 days", "optimal, one side, 28 days", "month", "test"),
}
DECIMAL = re.compile(r"\d+\.\d+")
NUMERIC = re.compile(r"[\d.,%e+· -]+|[\d.]+ \([\d.]+ to [\d.]+\)")
MEASURED = sorted((REPOSITORY / "docs/measured").glob("*.json"))


@pytest.mark.parametrize("file", MEASURED, ids=lambda file: file.name)
def test_measured_figures_name_their_command_and_stand_on_the_pages_that_link_to_them(file: Path) -> None:
    figures = json.loads(file.read_text(encoding="utf-8"))
    assert re.fullmatch(r"python -m benchmarks\.\w+( .*)?", figures["command"])
    date.fromisoformat(figures["date"])
    texts = [(REPOSITORY / page).read_text(encoding="utf-8") for page in PAGES]
    texts = [text for text in texts if f"(measured/{file.name})" in text]
    assert texts
    assert all(figures["date"] in text for text in texts)
    lines = [comparable(line) for text in texts for line in text.splitlines()]
    columns = (*NUMBERS, *ALSO_SHOWN.get(file.name, ()))
    for row in rows([part for name, part in figures.items() if name != "machine"]):
        cells = shown_cells(row, columns)  # its line holds every number of the row
        assert any(all(any(holds(line, one) for one in ways) for ways in cells) for line in lines), (row, cells)


def rows(part: Any) -> Iterator[dict[str, Any]]:
    """The rows of all tables in a file, wherever they lie."""
    if isinstance(part, list):
        names = {one["row"] for one in part if isinstance(one, dict) and "row" in one}
        for one in part:
            kind = str(one.get("row")).rpartition("/")[0] if isinstance(one, dict) else ""
            if f"{kind}/mean" not in names or one["row"] == f"{kind}/mean":  # a page may show the mean of the seeds
                yield from rows(one)
    elif isinstance(part, dict) and not is_interval(part):
        if not str(part.get("test")).startswith("mean"):
            yield part
        for one in part.values():
            yield from rows(one)


def is_interval(part: Any) -> bool:
    return isinstance(part, dict) and {"value", "low", "high"} <= set(part)


def shown_cells(row: dict[str, Any], columns: Sequence[str]) -> list[set[str]]:
    """Of each cell of a row that a page shows, the ways to write it."""
    labels = [{comparable(str(row[column]))} for column in LABELS if column in row]
    values = [row[column] for column in columns if column in row]
    numbers = [
        written(one)
        for value in values
        for one in (value.values() if is_interval(value) else [value])
        if isinstance(one, (int, float))
    ]
    texts = [
        {comparable(cell)}
        for column, cell in row.items()
        if column not in (*LABELS, *NOT_SHOWN) and isinstance(cell, str) and NUMERIC.fullmatch(cell)
    ]
    return [*labels, *numbers, *texts]


def written(value: float) -> set[str]:
    """A number as a table may show it: with three to five digits, as a share, as a percentage; a count as it is."""
    ways = {f"{value:,}"} if isinstance(value, int) else set()
    if abs(value) > 1:
        size = math.floor(math.log10(abs(value)))
        return ways | {f"{value:,.{max(0, digits - size)}f}" for digits in (2, 3, 4)}
    return ways | {f"{value:.3f}", f"{value:.4f}", f"{value:.1%}", f"{100 * value:.1f}"}


def comparable(line: str) -> str:
    """Without what only a page has: bold, code, a blank before a percent sign."""
    return re.sub(r"\*\*|`", "", line).replace(" %", "%").replace("−", "-")


def holds(line: str, cell: str) -> bool:
    """Whether a cell stands in a line, and not as a part of a longer number."""
    return re.search(rf"(?<![\d.]){re.escape(cell)}(?![\d.]*\d)", line) is not None


def numbers_of(table: str) -> list[tuple[str, set[str]]]:
    """Of each line of a table, itself and its numbers, without those of addresses."""
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    return [(line, set(DECIMAL.findall(re.sub(r"\]\([^)]*\)", "", line)))) for line in lines]


def test_what_is_told_of_the_models_stands_on_the_page_that_measured_it() -> None:
    quality = (REPOSITORY / "docs/quality.md").read_text(encoding="utf-8")
    for line, numbers in numbers_of(quality):
        pages = [REPOSITORY / "docs" / name for name in re.findall(r"\]\(([\w-]+\.md)", line)]
        told = comparable("\n".join(page.read_text(encoding="utf-8") for page in pages))
        assert not pages or {number for number in numbers if not holds(told, number)} == set(), line


def test_the_readme_tells_the_results_of_the_page_of_quality() -> None:
    readme, quality = ((REPOSITORY / page).read_text(encoding="utf-8") for page in ("README.md", "docs/quality.md"))
    results = readme.partition("## Results on real data")[2].partition("\n## ")[0]
    told = {number for _, numbers in numbers_of(results) for number in numbers}
    assert told
    assert {number for number in told if not holds(comparable(quality), number)} == set()
