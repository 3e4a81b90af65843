"""Numbers in the notations of several countries: read by the stated one, or refused with the keys of the right one."""

from __future__ import annotations

import pytest

from stages.tasks.forecast.data.numbers import Notation


@pytest.mark.parametrize(
    ("decimal", "thousands", "text", "number"),
    [
        (".", "", "1234.5", 1234.5),
        (".", "", "-2e3", -2000.0),
        (".", "", ".5", 0.5),
        (",", "", "151,65", 151.65),
        (",", "", "1,234", 1.234),
        (".", ",", "1,234,567.8", 1234567.8),
        (".", ",", "999", 999.0),
        (",", ".", "1.234.567,8", 1234567.8),
        (",", ".", "1.234", 1234.0),
        (",", " ", "1 234,5", 1234.5),
        (",", " ", "1\u202f234\u00a0567", 1234567.0),
        (",", " ", "-1\u2009234", -1234.0),
        (".", "'", "1'234.5", 1234.5),
        (".", "'", "1\u2019234", 1234.0),
    ],
)
def test_a_number_in_its_notation(decimal: str, thousands: str, text: str, number: float) -> None:
    assert Notation(decimal, thousands).parse(text) == number


@pytest.mark.parametrize(
    ("decimal", "thousands", "text"),
    [
        (".", "", "1_000"),
        (".", "", "0x10"),
        (".", "", "1,000"),
        (".", ",", "1,23"),
        (".", ",", "1,2,3"),
        (".", ",", "1234,567"),
        (".", ",", "1,000,00.5"),
        (",", ".", "1.23"),
        (",", ".", "1.234.5"),
        (",", " ", "12 34"),
    ],
)
def test_what_only_looks_like_a_number_is_none(decimal: str, thousands: str, text: str) -> None:
    assert Notation(decimal, thousands).parse(text) is None


@pytest.mark.parametrize(
    ("decimal", "thousands", "text", "keys"),
    [
        (".", "", "151,65", "prepare.decimal: ','"),
        (".", "", "1,234", "prepare.thousands: ',' or prepare.decimal: ','"),
        (".", "", "1,234.5", "prepare.thousands: ','"),
        (".", "", "1.234,5", "prepare.thousands: '.' with prepare.decimal: ','"),
        (",", "", "1.234", "prepare.thousands: '.' or prepare.decimal: '.'"),
        (",", "", "1 234,5", "prepare.thousands: ' '"),
    ],
)
def test_another_notation_is_named_by_its_keys(decimal: str, thousands: str, text: str, keys: str) -> None:
    assert Notation(decimal, thousands).hint(text) == f"; it looks like {keys}"


@pytest.mark.parametrize("text", ["many", "1,2,3", "12/31", ""])
def test_what_is_a_number_nowhere_gets_no_hint(text: str) -> None:
    assert Notation().hint(text) == ""
