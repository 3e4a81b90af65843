"""The sample's dates: written as their locale writes them, parsed to every date they can mean."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import pytest

from stages.tasks.translation.source.dates import FIRST, LAST, LOCALES, DateFormat, date_formats, possible_dates
from stages.tasks.translation.source.sample import draw_pairs, possible_targets, write_sample

WRITTEN = [  # what a person of the locale writes for the day; CLDR's styles and extra patterns
    ("en_US", date(1999, 3, 5), {"3/5/99", "Mar 5, 1999", "March 5, 1999", "Friday, March 5, 1999", "March 5th, 1999"}),
    ("en_GB", date(1999, 3, 22), {"22/03/1999", "22nd March 1999", "22nd of March 1999", "22 Mar 99"}),
    ("de", date(1999, 3, 5), {"05.03.99", "5. März 1999", "Freitag, 5. März 1999", "5. März '99"}),
    ("fr", date(1999, 3, 1), {"01/03/1999", "1 mars 1999", "lundi 1 mars 1999", "le 1er mars 1999"}),
    ("fr", date(1999, 3, 2), {"le 2 mars 1999"}),
    ("es", date(1999, 3, 5), {"5/3/99", "5 de marzo de 1999", "viernes, 5 de marzo de 1999"}),
    ("pl", date(1999, 3, 5), {"5.03.1999", "5 marca 1999"}),  # the genitive, not marzec
    ("ru", date(1999, 3, 5), {"05.03.1999", "5 марта 1999 года"}),
    ("sv", date(1999, 3, 5), {"1999-03-05", "5/3 1999", "990305"}),
    ("ja", date(1989, 1, 7), {"1989年1月7日", "昭和64年1月7日"}),  # the last day of Shōwa
    ("ja", date(1989, 1, 8), {"平成元年1月8日"}),
    ("ja", date(2019, 4, 30), {"平成31年4月30日"}),
    ("ja", date(2019, 5, 1), {"令和元年5月1日"}),
    ("zh", date(2010, 12, 31), {"2010年12月31日星期五", "二〇一〇年十二月三十一日"}),
    ("zh", date(1999, 10, 20), {"一九九九年十月二十日"}),
]


@pytest.mark.parametrize(("locale", "day", "expected"), WRITTEN)
def test_dates_are_written_as_their_locale_writes_them(locale: str, day: date, expected: set[str]) -> None:
    written = {each.format(day) for each in date_formats(locale)}
    assert expected <= written


def test_the_sample_has_many_locales_scripts_and_formats() -> None:
    assert len(LOCALES) == 19
    assert all(len(date_formats(locale)) >= 9 for locale in LOCALES)


@pytest.mark.parametrize("locale", LOCALES)
def test_every_format_parses_what_it_has_formatted(locale: str) -> None:
    days = [FIRST + timedelta(days=n) for n in range(0, (LAST - FIRST).days, 997)] + [FIRST, LAST, date(2000, 2, 29)]
    for each in date_formats(locale):
        for day in days:
            assert each.parse(each.format(day)) == day, each.pattern


def date_format(locale: str, pattern: str) -> DateFormat:
    return next(found for found in date_formats(locale) if found.pattern == pattern)


def test_a_format_parses_nothing_that_it_would_not_write() -> None:
    assert date_format("en_US", "MMMM d, y").parse("April 31, 1999") is None
    assert date_format("en_US", "EEEE, MMMM d, y").parse("Monday, March 5, 1999") is None  # it was a Friday
    assert date_format("en_US", "MMMM o, y").parse("March 5st, 1999") is None
    assert date_format("en_US", "MMMM d, y").parse("March 05, 1999") is None
    assert date_format("ja", "jM月d日").parse("昭和64年1月8日") is None  # Heisei by then


def test_two_digit_years_mean_one_year() -> None:
    assert date_format("en_US", "M/d/yy").parse("1/2/70") == date(1970, 1, 2)
    assert date_format("en_US", "M/d/yy").parse("1/2/30") == date(2030, 1, 2)


def test_ambiguous_sources_know_all_their_targets() -> None:
    # Canada writes both orders, each with and without the leading zeros that 10/11 does not need.
    assert possible_dates("en_CA", "10/11/1999") == {date(1999, 11, 10): 2, date(1999, 10, 11): 2}
    assert possible_targets("<en_CA> 3/5/99") == {"1999-03-05": 0.5, "1999-05-03": 0.5}
    assert possible_targets("<en_CA> 13/5/99") == {"1999-05-13": 1.0}
    assert possible_targets("<en_US> 3/5/99") == {"1999-03-05": 1.0}
    assert possible_targets("<en_GB> 3/5/99") == {"1999-05-03": 1.0}


def test_only_canada_is_ambiguous() -> None:
    pairs = draw_pairs(3000, seed=5)
    ambiguous = Counter(source.split()[0] for source, _ in pairs if len(possible_targets(source)) > 1)
    assert set(ambiguous) == {"<en_CA>"}


def test_a_pair_s_target_is_among_the_possible_ones() -> None:
    assert all(target in possible_targets(source) for source, target in draw_pairs(1000, seed=2))


def test_the_sample_is_a_function_of_its_seed(tmp_path: Path) -> None:
    contents = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        write_sample(tmp_path / name, pairs=400, seed=seed)
        contents.append((tmp_path / name / "dates.tsv").read_bytes())
    assert contents[0] == contents[1] != contents[2]
    assert len(set(contents[0].decode().splitlines())) == 400


def test_ambiguous_sources_are_written_with_the_share_of_each_target(tmp_path: Path) -> None:
    write_sample(tmp_path, pairs=2000, seed=1)
    rows = [line.split("\t") for line in (tmp_path / "ambiguous.tsv").read_text("utf-8").splitlines()]
    sources = [line.split("\t")[0] for line in (tmp_path / "dates.tsv").read_text("utf-8").splitlines()]
    assert {row[0] for row in rows} == {source for source in sources if len(possible_targets(source)) > 1}
    assert {row[2] for row in rows} == {"0.500000"}


def test_more_pairs_than_exist_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.tasks.translation.source.sample.LOCALES", ("zh",))
    monkeypatch.setattr("stages.tasks.translation.source.sample.LAST", date(1970, 1, 10))
    with pytest.raises(ValueError, match="source.pairs: found 1000; the sample has only about"):
        draw_pairs(1000, seed=1)
