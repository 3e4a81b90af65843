"""Dates as people write them: every CLDR style of a locale, and formats that no standard lists.

A format is a pattern in CLDR's letters (https://unicode.org/reports/tr35/tr35-dates.html#Date_Field_Symbol_Table) with
the names of its locale. Five letters that CLDR leaves free are added: `o` the day as an ordinal, `j` the Japanese era
with its year, `n`, `p`, `t` year, month and day in Han numerals. A format parses what it has formatted, so that one can
find the dates that a text may mean.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache, cached_property
from typing import Any

from babel import Locale

FIRST, LAST = date(1970, 1, 1), date(2030, 12, 31)  # with 61 years, two digits always mean one year

SKELETONS = ("yMd", "yMEd", "yMMMd", "yMMMEd")  # CLDR's own free combinations
EXTRA_PATTERNS: dict[str, tuple[str, ...]] = {
    "ar": ("dd-MM-y", "d MMMM، y", "EEEE d/M/y"),
    "cs": ("d.M.y", "dd.MM.y", "d. MMMM ''yy", "d/M/yy"),
    "de": ("d.M.yy", "d. MMM yy", "'den' d. MMMM y", "E dd.MM.yy", "d. MMMM ''yy"),
    "el": ("dd/MM/y", "dd-MM-yy", "d.M.y"),
    "en_CA": ("d/M/yy", "M/d/yy", "M/d/y", "dd/MM/y", "MM/dd/y", "MMMM o, y"),  # both orders are in daily use
    "en_GB": ("d/M/yy", "dd.MM.yy", "o MMMM y", "o 'of' MMMM y", "d MMM yy", "E o MMM ''yy"),
    "en_US": ("MM/dd/y", "M-d-yy", "MMMM o, y", "MMM o y", "MMM d ''yy", "dd-MMM-y", "'the' o 'of' MMMM, y"),
    "es": ("dd/MM/y", "d-M-yy", "d 'de' MMMM 'del' y", "MMMM d, y"),
    "fi": ("dd.MM.y", "d.M.yy", "d. MMMM ''yy", "EEEE d.M.y"),
    "fr": ("d/M/yy", "'le' o MMMM y", "dd.MM.yy", "d MMM yy"),
    "it": ("d/M/y", "dd-MM-y", "o MMMM y", "d MMMM ''yy", "d.M.yy"),
    "ja": ("y年MM月dd日", "y.M.d", "yy/MM/dd", "jM月d日", "jM月d日(E)", "jM月d日EEEE"),
    "nl": ("d-M-yy", "dd/MM/y", "d MMM ''yy", "d.M.y"),
    "pl": ("dd.MM.y", "d.MM.yy 'r'.", "d MMMM y 'r'.", "d-M-y"),
    "pt_BR": ("d/M/yy", "dd-MM-y", "o 'de' MMMM 'de' y", "d.M.y"),
    "ru": ("d.MM.yy", "d MMMM y", "d MMMM y 'года'", "dd/MM/yy"),
    "sv": ("d/M y", "yyMMdd", "'den' d MMMM y", "d MMM ''yy"),
    "tr": ("d/M/y", "dd/MM/yy", "d MMMM ''yy", "dd-MM-y"),
    "zh": ("n年p月t日", "y.M.d", "y-MM-dd", "yy/M/d"),
}
LOCALES = tuple(EXTRA_PATTERNS)

_ERAS = (("令和", date(2019, 5, 1)), ("平成", date(1989, 1, 8)), ("昭和", date(1926, 12, 25)))  # newest first
_HAN = "〇一二三四五六七八九"
_PARTS: dict[str, Callable[[date], object]] = {
    "year": lambda day: day.year,
    "month": lambda day: day.month,
    "day": lambda day: day.day,
    "weekday": lambda day: day.weekday(),  # 0 is Monday, as in Babel
    "era": lambda day: _era(day),
}
_TOKENS = re.compile(r"'(?P<quoted>[^']*)'|(?P<field>([A-Za-z])\3*)|(?P<literal>[^A-Za-z']+)")


@dataclass(frozen=True)
class Field:
    """A part of a date and how each of its values is written."""

    part: str
    texts: Mapping[Any, str]

    @cached_property
    def pattern(self) -> str:
        """A regular expression for any of the texts; the longest first, so that 12 is not read as 1."""
        return "|".join(sorted(map(re.escape, set(self.texts.values())), key=lambda text: (-len(text), text)))

    @cached_property
    def values(self) -> dict[str, Any]:
        return {text: value for value, text in self.texts.items()}


@dataclass(frozen=True)
class DateFormat:
    """One way to write a date in one locale."""

    locale: str
    pattern: str
    pieces: tuple[str | Field, ...]

    def format(self, day: date) -> str:
        return "".join(p if isinstance(p, str) else p.texts[_PARTS[p.part](day)] for p in self.pieces)

    def parse(self, text: str) -> date | None:
        """The one date that is written as `text` in this format, or None."""
        match = self._expression.fullmatch(text)
        if match is None:
            return None
        fields = (piece for piece in self.pieces if isinstance(piece, Field))
        parts = {field.part: field.values[written] for field, written in zip(fields, match.groups(), strict=True)}
        year, _ = parts["era"] if "era" in parts else (parts["year"], "")
        try:
            day = date(year, parts["month"], parts["day"])
        except ValueError:  # such as 31 April
            return None
        return day if self.format(day) == text else None  # weekday and era must agree, too

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        return re.compile("".join(re.escape(p) if isinstance(p, str) else f"({p.pattern})" for p in self.pieces))


@cache
def date_formats(locale: str) -> tuple[DateFormat, ...]:
    """Every format of a locale, each pattern once: the four CLDR styles, the skeletons, ISO 8601, the extra ones."""
    data = Locale.parse(locale)
    patterns = [data.date_formats[style].pattern for style in ("short", "medium", "long", "full")]
    patterns += [data.datetime_skeletons[name].pattern for name in SKELETONS]
    patterns += ["y-MM-dd", *EXTRA_PATTERNS[locale]]
    return tuple(DateFormat(locale, pattern, _pieces(pattern, data)) for pattern in dict.fromkeys(patterns))


def possible_dates(locale: str, text: str) -> Counter[date]:
    """Every date that a format of the locale writes as `text`, with the number of formats that do."""
    days = (date_format.parse(text) for date_format in date_formats(locale))
    return Counter(day for day in days if day is not None)


def _pieces(pattern: str, data: Locale) -> tuple[str | Field, ...]:
    """Texts and fields of a pattern; '' is one apostrophe."""
    return tuple(
        _field(token["field"], data) if token["field"] else token["literal"] or token["quoted"] or "'"
        for token in _TOKENS.finditer(pattern)
    )


def _field(letters: str, data: Locale) -> Field:
    """The field that a run of equal pattern letters stands for. Raises ValueError for one that no format here uses."""
    years, months, days = range(FIRST.year, LAST.year + 1), range(1, 13), range(1, 32)
    match letters:
        case "y":
            return Field("year", {y: str(y) for y in years})
        case "yy":
            return Field("year", {y: f"{y % 100:02}" for y in years})
        case "M" | "MM":
            return Field("month", {m: f"{m:0{len(letters)}}" for m in months})
        case "MMM" | "MMMM" | "LLL" | "LLLL":
            context = "format" if letters[0] == "M" else "stand-alone"
            return Field("month", dict(data.months[context]["abbreviated" if len(letters) == 3 else "wide"]))
        case "d" | "dd":
            return Field("day", {d: f"{d:0{len(letters)}}" for d in days})
        case "E" | "EEE" | "EEEE" | "ccc" | "cccc":
            context = "format" if letters[0] == "E" else "stand-alone"
            return Field("weekday", dict(data.days[context]["wide" if len(letters) == 4 else "abbreviated"]))
        case "o":
            return Field("day", {d: _ordinal(d, data.language) for d in days})
        case "j":
            eras = [_era(date(y, month, day)) for y in years for month, day in ((1, 1), (12, 31))]
            return Field("era", {(year, text): text for year, text in eras})
        case "n":
            return Field("year", {y: "".join(_HAN[int(digit)] for digit in str(y)) for y in years})
        case "p":
            return Field("month", {m: _han(m) for m in months})
        case "t":
            return Field("day", {d: _han(d) for d in days})
    raise ValueError(f"pattern letters {letters!r} of locale {data}: not a field that a format can write")


def _ordinal(day: int, language: str) -> str:
    """5th, 1er, 1º: in French, Italian and Portuguese the first of a month alone is an ordinal."""
    if language == "en":
        return f"{day}{'th' if day in (11, 12, 13) else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"
    first = {"fr": "1er", "it": "1º", "pt": "1º"}[language]
    return first if day == 1 else str(day)


def _era(day: date) -> tuple[int, str]:
    """The year, and how it is called, such as 平成11年; the first year of an era is 元年."""
    name, start = next(era for era in _ERAS if day >= era[1])
    year = day.year - start.year + 1
    return day.year, f"{name}{'元' if year == 1 else year}年"


def _han(number: int) -> str:
    """1 to 31 in Han numerals: 三, 十, 二十一."""
    tens, ones = divmod(number, 10)
    return ("" if tens == 0 else "十" if tens == 1 else f"{_HAN[tens]}十") + (_HAN[ones] if ones else "")
