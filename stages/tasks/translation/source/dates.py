"""Dates as people write them: every CLDR style of a locale, and the free forms that no standard lists.

A form is a pattern in CLDR's letters (https://unicode.org/reports/tr35/tr35-dates.html#Date_Field_Symbol_Table) with
the names of its locale. Five letters that CLDR leaves free are added: `o` the day as an ordinal, `j` the Japanese era
with its year, `n`, `p`, `t` year, month and day in Han numerals. A form writes a date, and reads its own writing back,
so that one can ask which dates a text may mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache, cached_property

from babel import Locale

FIRST, LAST = date(1970, 1, 1), date(2030, 12, 31)  # with 61 years, two digits always mean one year

SKELETONS = ("yMd", "yMEd", "yMMMd", "yMMMEd")  # CLDR's own free combinations
FREE_FORMS: dict[str, tuple[str, ...]] = {
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
LOCALES = tuple(FREE_FORMS)

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
    texts: Mapping[object, str]

    @cached_property
    def pattern(self) -> str:
        """A regular expression for any of the texts; the longest first, so that 12 is not read as 1."""
        return "|".join(sorted(map(re.escape, set(self.texts.values())), key=lambda text: (-len(text), text)))

    @cached_property
    def values(self) -> dict[str, int]:
        """Text to number; an era's text to its year in the Gregorian count."""
        if self.part == "era":
            return {text: _era_start(text) + _era_count(text) - 1 for text in self.texts.values()}
        return {text: int(str(value)) for value, text in self.texts.items()}


@dataclass(frozen=True)
class Form:
    """One way to write a date in one locale."""

    locale: str
    pattern: str
    pieces: tuple[str | Field, ...]

    def write(self, day: date) -> str:
        return "".join(p if isinstance(p, str) else p.texts[_PARTS[p.part](day)] for p in self.pieces)

    def read(self, text: str) -> date | None:
        """The one date that this form writes as `text`, or None."""
        found = self._expression.fullmatch(text)
        if found is None:
            return None
        values: dict[str, int] = {}
        for field, written in zip(self._fields, found.groups(), strict=True):
            if field.part != "weekday":
                part = "year" if field.part == "era" else field.part
                values[part] = field.values[written]
        try:
            day = date(values["year"], values["month"], values["day"])
        except ValueError:  # such as 31 April
            return None
        return day if self.write(day) == text else None  # weekday and era must agree, too

    @cached_property
    def _fields(self) -> tuple[Field, ...]:
        return tuple(p for p in self.pieces if isinstance(p, Field))

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        return re.compile("".join(re.escape(p) if isinstance(p, str) else f"({p.pattern})" for p in self.pieces))


@cache
def forms(locale: str) -> tuple[Form, ...]:
    """Every form of a locale, each pattern once: the four CLDR styles, the skeletons, ISO 8601, the free forms."""
    data = Locale.parse(locale)
    patterns = [data.date_formats[style].pattern for style in ("short", "medium", "long", "full")]
    patterns += [data.datetime_skeletons[name].pattern for name in SKELETONS]
    patterns += ["y-MM-dd", *FREE_FORMS[locale]]
    return tuple(Form(locale, pattern, _pieces(pattern, data)) for pattern in dict.fromkeys(patterns))


def meanings(locale: str, text: str) -> dict[date, int]:
    """Every date that a form of the locale writes as `text`, with the number of forms that do."""
    found: dict[date, int] = {}
    for form in forms(locale):
        day = form.read(text)
        if day is not None:
            found[day] = found.get(day, 0) + 1
    return found


def _pieces(pattern: str, data: Locale) -> tuple[str | Field, ...]:
    pieces: list[str | Field] = []
    for token in _TOKENS.finditer(pattern):
        if token["field"]:
            pieces.append(_field(token["field"], data))
        elif token["literal"]:
            pieces.append(token["literal"])
        else:
            pieces.append(token["quoted"] or "'")  # '' is one apostrophe
    return tuple(pieces)


def _field(letters: str, data: Locale) -> Field:
    """The field that a run of equal pattern letters stands for. Raises ValueError for one that no form here uses."""
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
            return Field("era", {text: text for text in eras})
        case "n":
            return Field("year", {y: "".join(_HAN[int(digit)] for digit in str(y)) for y in years})
        case "p":
            return Field("month", {m: _han(m) for m in months})
        case "t":
            return Field("day", {d: _han(d) for d in days})
    raise ValueError(f"pattern letters {letters!r} of locale {data}: not a field that a form can write")


def _ordinal(day: int, language: str) -> str:
    """5th, 1er, 1º: in French, Italian and Portuguese the first of a month alone is an ordinal."""
    if language == "en":
        return f"{day}{'th' if day in (11, 12, 13) else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"
    first = {"fr": "1er", "it": "1º", "pt": "1º"}[language]
    return first if day == 1 else str(day)


def _era(day: date) -> str:
    """Such as 平成11年; the first year of an era is 元年."""
    name, start = next(era for era in _ERAS if day >= era[1])
    year = day.year - start.year + 1
    return f"{name}{'元' if year == 1 else year}年"


def _era_start(text: str) -> int:
    return next(start.year for name, start in _ERAS if text.startswith(name))


def _era_count(text: str) -> int:
    count = text[2:-1]  # between the era's two characters and 年
    return 1 if count == "元" else int(count)


def _han(number: int) -> str:
    """1 to 31 in Han numerals: 三, 十, 二十一."""
    tens, ones = divmod(number, 10)
    return ("" if tens == 0 else "十" if tens == 1 else f"{_HAN[tens]}十") + (_HAN[ones] if ones else "")
