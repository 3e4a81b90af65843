"""The line that a preparation ends with: what was taken, rejected, repaired and filled, with an example of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

LOUD_SHARE = (
    0.01  # of the values: where more were rejected, filled or repaired in a doubtful way, the line is a warning
)
_EXAMPLE_LIMIT = 200  # characters


@dataclass(frozen=True, slots=True)
class Units:
    """What a task counts, in the plural: `values` are what may be lost or repaired, `rows` are the store's, each of
    many values; empty where a row is a value.
    """

    values: str = "records"
    rows: str = ""


@dataclass(slots=True)
class Tally:
    """How many values a rule touched, and the first of them, in the order of the input."""

    count: int = 0
    example: str = ""
    of: int = 0  # filled: how many there are with those that were made up
    unit: str = ""  # filled: what `of` counts
    doubtful: bool = False  # repaired: many of them say that something else is wrong

    def add(self, count: int, example: str, *, rows: int = 0) -> None:
        """Count further values; the first example stays. A row may be lost whose values are counted elsewhere."""
        if (count or rows) and not self.example:
            self.example = one_line(example)
        self.count += count


def one_line(text: str) -> str:
    """The text without what would break a line or command a terminal, cut where it is long."""
    shown = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text[: _EXAMPLE_LIMIT + 1])
    return shown if len(shown) <= _EXAMPLE_LIMIT else f"{shown[:_EXAMPLE_LIMIT]}…"


def percent(part: int, whole: int) -> str:
    """`19 %`, `0.4 %`."""
    share = 100 * part / whole if whole else 0.0
    if 0 < share < 0.1:
        return "under 0.1 %"
    return f"{share:.0f} %" if share >= 10 or share == round(share) else f"{share:.1f} %"


def amount(units: Units, values: int, rows: int) -> str:
    """`3,180 days of 12 series`, `600 drawings`."""
    return f"{values:,} {units.values}" + (f" of {rows:,} {units.rows}" if units.rows else "")


def shares(units: Units, values: tuple[int, int], rows: tuple[int, int]) -> str:
    """`820 of 4,000 days (20 %)` and, where rows were lost, `, 1 of 13 series (7.7 %)`; pairs are part and whole."""
    counted = [(units.values, *values)] + ([(units.rows, *rows)] if units.rows and rows[0] else [])
    return ", ".join(f"{part:,} of {whole:,} {unit} ({percent(part, whole)})" for unit, part, whole in counted)


def rejections(tallies: Mapping[str, Tally]) -> str:
    """`value 20 (a.csv, line 3: found '151,65'; allowed: a number) · too_short 7 (…)`, the largest first."""
    return " · ".join(
        f"{rule} {tally.count:,}{_example(tally)}" if tally.count else f"{rule}{_example(tally)}"
        for rule, tally in _largest(tallies)
    )


def changes(repaired: Mapping[str, Tally], filled: Iterable[Tally]) -> list[str]:
    """`repaired 799 unsorted_row (…)` and `filled 170 of 900 days (19 %; first …)`, where there are any."""
    parts = [f"{tally.count:,} {rule}{_example(tally)}" for rule, tally in _largest(repaired) if tally.count]
    made_up = [
        f"{t.count:,} of {t.of:,} {t.unit} ({percent(t.count, t.of)}{'; first ' if t.example else ''}{t.example})"
        for t in filled
        if t.count
    ]
    lists = {"repaired": parts, "filled": made_up}
    return [f"{verb} {' · '.join(items)}" for verb, items in lists.items() if items]


def _largest(tallies: Mapping[str, Tally]) -> list[tuple[str, Tally]]:
    return sorted(tallies.items(), key=lambda item: -item[1].count)


def _example(tally: Tally) -> str:
    return f" ({tally.example})" if tally.example else ""
