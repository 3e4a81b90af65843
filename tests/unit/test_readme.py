"""README.md shows what is so: no picture is stale, and every number in it stands in a file that a command wrote."""

from __future__ import annotations

import json
import re

import pytest

from benchmarks.readme import record
from tests.documentation import REPOSITORY, blocks

REMAKE = "`python -m benchmarks.readme {}` makes it again, after `make repro`"
NUMBER = re.compile(r"(?<![\w.])\d[\d,]*\.\d+(?![\w.])")


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without its first two lines; quotes and stars are left out."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    section = text.split(f"\n{heading}\n", 1)[1] if heading else text
    lines = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert lines, f"{page} has no table below {heading}"
    table = re.sub("[`*]", "", lines[0]).splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def samples() -> dict[str, list[float]]:
    """By task what was measured on the samples."""
    content = json.loads((REPOSITORY / record.NUMBERS).read_text(encoding="utf-8"))
    return {task: list(found["metrics"].values()) for task, found in content["tasks"].items()}


def assert_measured(task: str, text: str) -> None:
    """Each number with a point is one of the task's metrics, rounded to as many digits as it has."""
    for number in NUMBER.findall(text):
        digits = len(number.partition(".")[2])
        near = 0.5000001 * 10**-digits  # what lies in the middle may be rounded to either side
        assert any(abs(value - float(number)) <= near for value in samples()[task]), f"{task}: {number}"


@pytest.mark.parametrize("picture", record.PICTURES)
def test_no_picture_is_stale(picture: str) -> None:
    reasons = list(record.stale(picture))
    assert not reasons, f"{picture}: {'; '.join(reasons)}; {REMAKE.format(picture)}"
    for path in record.files(picture):
        assert (REPOSITORY / path).stat().st_size <= record.LARGEST


def test_the_numbers_of_the_samples_are_those_of_the_pipeline() -> None:
    reasons = list(record.stale_numbers())
    assert not reasons, f"{record.NUMBERS}: {'; '.join(reasons)}; {REMAKE.format('numbers')}"


def test_what_the_readme_says_that_make_repro_prints_is_what_was_measured() -> None:
    printed = blocks("README.md", "text")[0].text.splitlines()
    assert printed[0].split()[:2] == ["task", "metric"]
    assert [line.split()[0] for line in printed[1:]] == sorted(samples())
    for line in printed[1:]:
        assert_measured(line.split()[0], line)


def test_the_table_of_the_samples_is_what_was_measured() -> None:
    found = rows("docs/getting-started.md", "## What the samples reached")
    assert {task for task, *_ in found} == set(samples())
    for task, *cells in found:
        assert_measured(task, " ".join(cells))


def test_the_results_of_the_readme_are_those_of_the_page_on_quality() -> None:
    known: dict[str, str] = {}
    for task, *cells in rows("docs/quality.md", ""):
        known[task] = f"{known.get(task, '')} {' '.join(cells)}"
    found = rows("README.md", "## Results on real data")
    assert {task for task, *_ in found} == set(known)
    for task, *cells in found:
        missing = set(NUMBER.findall(" ".join(cells))) - set(NUMBER.findall(known[task]))
        assert not missing, f"{task}: docs/quality.md has no {', '.join(sorted(missing))}"


def test_a_picture_is_stale_once_what_it_shows_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    known = record.shows("tasks")
    monkeypatch.setattr(record, "shows", lambda picture: {**known, "benchmarks/readme/panels.py": "another"})
    assert list(record.stale("tasks")) == ["benchmarks/readme/panels.py is another"]
    monkeypatch.setattr(record, "shows", lambda picture: {**known, "one more": "1"})
    assert list(record.stale("tasks")) == ["one more is new or gone"]
