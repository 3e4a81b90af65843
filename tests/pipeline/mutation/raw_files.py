"""Raw files of three tasks: drawings, sentence pairs and series through `preprocess`."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import defaultdict
from datetime import date, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from stages.data.prepared import open_prepared
from stages.preprocess import preprocess
from stages.tasks.protocol import Task
from stages.tasks.sketch.data import quickdraw
from stages.tasks.translation.data.readers import Corpus, Part, write_corpus
from stages.tasks.translation.data.text import normalise
from tests.unit.sketch_files import record, save_npz, stroke_3

from .case import Case, counts, params, put, text_of

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
DAYS, FIRST_DAY = 90, date(2023, 1, 2)


# -- sketch ------------------------------------------------------------------------------------------------------------


def drawings(form: str) -> bytes:
    """Twelve drawings as the host writes them, then twelve of another hand's JSON."""
    records = [record(number) for number in range(24)]
    for place, each in enumerate(records):
        each["timestamp"], each["countrycode"] = "2017-03-09 00:28:55.63750 UTC", "DE"
        each["drawing"] = each.pop("drawing")
        if form == "raw":
            each["drawing"] = [
                [[v + 0.5 for v in xs], ys, [9 * n for n in range(len(xs))]] for xs, ys in each["drawing"]
            ]
        records[place] = each
    lines = [json.dumps(each, separators=(",", ":") if n < 12 else (", ", ": ")) for n, each in enumerate(records)]
    return "\n".join(lines).encode() + b"\n"


def run_sketch(form: str, name: str, case: Case) -> None:
    put(Path("data/sketch/raw", form, name), case.content)
    others = [json.dumps(record(n, "dog")) for n in range(300, 320)]
    put(Path("data/sketch/raw/simplified/dog.ndjson"), "\n".join(others).encode())
    preprocess(Task("sketch"), params("sketch", {"max_rejected_share": 1.0}, {}))


def _stored(task: str) -> list[tuple[Any, ...]]:
    store, _ = open_prepared(Path(f"data/{task}/prepared"))
    ids = store.column("id").tolist()
    return [(id, store.value("split", n), store.sequence("values", n).tolist()) for n, id in enumerate(ids)]


def check_ndjson(form: str, case: Case) -> None:
    found, stored = counts("sketch"), _stored("sketch")
    if not found.get("rejected_unreadable_file"):
        lines = text_of(case.content).encode("utf-8", "surrogateescape").split(b"\n")
        expected = 20 + sum(bool(line) and not line.isspace() for line in lines)
        assert found["accepted"] + found["rejected"] == expected, (found, expected)
    # The fast reader of what the host writes, and the one of any JSON, read the same.
    scanned, quickdraw._scanned = quickdraw._scanned, lambda lines: None
    try:
        run_sketch(form, "cat.ndjson", case)
    finally:
        quickdraw._scanned = scanned
    assert (counts("sketch"), _stored("sketch")) == (found, stored)


def npz() -> bytes:
    path = Path("cat.npz")
    save_npz(
        path,
        **{
            name: [stroke_3(n + 30 * place) for n in range(9, 20)]
            for place, name in enumerate(("train", "valid", "test"))
        },
    )
    content = path.read_bytes()
    path.unlink()
    return content


_WHOLE: set[str] = set()  # drawings of the valid file


def check_npz(case: Case) -> None:
    found = counts("sketch")
    assert found["accepted"] > 20 or found["rejected"], "nothing of the file, and not a word"
    drawings = {str(values) for _, _, values in _stored("sketch")}
    if case.content == case.kind.content:
        _WHOLE.update(drawings)
    assert case.inside or drawings <= _WHOLE, drawings - _WHOLE  # a checksum guards them


# -- translation -------------------------------------------------------------------------------------------------------


def pairs() -> bytes:
    words = ("cat", "dog", "blue", "Müller", "naïve", "東京", "one", "two")
    lines = [f"a {a} and the {b}\tein {b} mit {a} {n}" for n, (a, b) in enumerate((a, b) for a in words for b in words)]
    return "\n".join(lines).encode() + b"\n"


def run_pairs(name: str, case: Case) -> None:
    put(Path("data/translation/raw", name), case.content)
    parts = [Part(files=[name], split="drawn")]
    write_corpus(Path("data/translation/raw"), Corpus(source_language="en", target_language="de", parts=parts))
    changes = {"max_rejected_share": 1.0, "validation_share": 0.2, "test_share": 0.2, "split_by": "source"}
    preprocess(Task("translation"), params("translation", changes, {}))


def check_pairs(case: Case) -> None:
    lines = text_of(case.content).split("\n")
    lines = [line.removesuffix("\r") for line in (lines if lines[-1] else lines[:-1])]
    runs = sum(1 if not text else len(list(equal)) for text, equal in groupby(lines))
    found = counts("translation")
    assert found["accepted"] + found["rejected"] == runs, (found, runs)
    columns = [line.split("\t") for line in lines]
    known = {tuple(normalise(text)[0] for text in each) for each in columns if len(each) == 2}
    store, _ = open_prepared(Path("data/translation/prepared"))
    for row in range(len(store.column("id"))):
        pair = store.value("source_text", row), store.value("target_text", row)
        assert pair in known, pair
        assert not re.search("[\ud800-\udfff]", "".join(pair)), pair


# -- forecast ----------------------------------------------------------------------------------------------------------


def series_csv() -> bytes:
    rows = ["id,date,y"]
    for name in ("Müller", "shop 2"):
        rows += [f"{name},{FIRST_DAY + timedelta(days=n)},{20 + n % 7 + n / 100:.2f}" for n in range(DAYS)]
    return "\n".join(rows).encode() + b"\n"


def series_tsf() -> bytes:
    head = ["# a comment", "@relation shops", "@attribute series_name string", "@attribute start_timestamp date"]
    head += ["@frequency daily", "@horizon 7", "@missing true", "@equallength false", "@data"]
    values = ",".join(f"{20 + n % 7 + n / 100:.2f}" if n % 17 else "?" for n in range(DAYS))
    return (
        "\n".join([*head, *(f"{name}:2023-01-02 00-00-00:{values}" for name in ("Müller", "shop 2"))]).encode() + b"\n"
    )


FORECAST: dict[str, Any] = {
    "date_columns": ["date"],
    "date_format": "%Y-%m-%d",
    "value_columns": ["y"],
    "id_column": "id",
}
FORECAST |= {"duplicates": "last", "validation_days": 14, "test_days": 14, "max_rejected_share": 1.0}


def run_series(name: str, case: Case) -> None:
    put(Path("data/forecast/raw", name), case.content)
    preprocess(Task("forecast"), params("forecast", FORECAST, {}))


def _observed() -> list[tuple[str, int, float]]:
    """Series, day and value of each stored observation."""
    store, _ = open_prepared(Path("data/forecast/prepared"))
    rows = []
    for row, name in enumerate(store.column("id").tolist()):
        start, values, seen = (
            store.value("start", row),
            store.sequence("values", row),
            store.sequence("observed", row),
        )
        rows += [(name, start.toordinal() + int(n), float(values[n])) for n in np.flatnonzero(seen)]
    return rows


def check_csv(case: Case) -> None:
    lines = [line.rstrip("\r\n") for line in io.StringIO(text_of(case.content), newline="")]
    rows = [_cells(line) for line in lines if line]  # a row is a line
    header = [name.strip() for name in rows[0]]
    places = [header.index(name) for name in ("id", "date", "y")]
    known: defaultdict[tuple[str, int], set[float]] = defaultdict(set)
    for row in rows[1:]:
        if len(row) >= len(header) and not any(map(str.strip, row[len(header) :])):
            name, day, value = (row[place].strip() for place in places)
            if re.fullmatch(r"\d{4}-\d{1,2}-\d{1,2}", day, re.ASCII) and _NUMBER.fullmatch(value):
                known[name, _ordinal(day)].add(float(value))
    for name, number, observed in _observed():
        assert observed in known[name, number], (name, date.fromordinal(number), observed)
    found = counts("forecast")
    assert found["accepted"] + found["rejected"] == len(rows) - 1, (found, len(rows) - 1)


def _cells(line: str) -> list[str]:
    try:
        return next(csv.reader([line], strict=True))
    except csv.Error:
        return []


def _ordinal(day: str) -> int:
    try:
        return date(*map(int, day.split("-"))).toordinal()
    except ValueError:
        return 0


def check_tsf(case: Case) -> None:
    words = map(str.strip, re.split(r"[,:\r\n]", text_of(case.content)))
    numbers = {float(word) for word in words if _NUMBER.fullmatch(word)}
    for found in _observed():
        assert found[2] in numbers, found
