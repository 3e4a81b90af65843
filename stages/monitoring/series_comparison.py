"""Whether the newest four weeks of a series are like those before: level, spread, weekly pattern, gaps.

Days of a series depend on each other, so no day is an observation here: a stretch of four weeks is one. What four weeks
differ by in the data that were learned, from each other, from the same season a year before (52 weeks, so that weekdays
meet) or from that of all other years, is what the newest may differ by: the one of the three that varies least there.
The p-value is that of one more such stretch (Student's t). Stretches that follow each other may still be alike, so they
count as the number of independent ones that their autocorrelation leaves (Bayley and Hammersley, "The Effective Number
of Independent Observations in an Autocorrelated Time Series", 1946): a series that wanders has few, and hardly anything
is sure of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..preprocessing.weekly import DAYS, WEEK, WEEKS, DailySeries, cube_root, first_weekday, four_weeks
from .comparison import Change, compare_shares, normal_distance

_YEAR = 52  # weeks
_FEWEST = 13  # stretches of four weeks, a year's, that differences from the season before are judged by
_GAP_DAYS = 3.0  # of a gap, such as a weekend and a holiday, that count as one observation


class _Usual(NamedTuple):
    """What another stretch is expected to be, and how far off it may be."""

    expected: float
    deviation: float  # of one more stretch
    freedom: float  # degrees of it


def compare_series(learned: Mapping[str, Any], series: DailySeries, today: int, label: str = "") -> list[Change]:
    """The features of a series whose lines (`weekly.described`) were learned, each named after `label`. `today` is the
    last day that any series has, days since 1970-01-01. Of fewer than four weeks there are only the gaps.
    """
    gaps = _gaps(learned, series, today, f"{label}gaps")
    if len(series.values) < DAYS:
        return [gaps]
    level, variance, pattern = four_weeks(series.values[-DAYS:])
    usual_pattern = np.roll(learned["pattern_mean"], -first_weekday(series.last_day + 1 - DAYS))
    usual_variance = learned["variance"]
    away = float(((pattern - usual_pattern) ** 2).mean())
    weeks_later = (series.last_day - learned["last_day"]) / WEEK
    found = {
        "level": level,
        "spread": cube_root(variance, usual_variance),
        "pattern": cube_root(away, usual_variance),
    }
    changes = [gaps]
    for name, value in found.items():
        line = np.array(learned[name], dtype=np.float64)
        usual = _usual(line, weeks_later, seasonal=name != "pattern")
        p_value = _p_value(value, usual, one_sided=name == "pattern")
        excess = value - usual.expected
        shift, ratio = 0.0, 1.0
        if name == "level":
            shift = excess / usual_variance**0.5
        elif name == "spread":
            ratio = (max(value, 0.01) / max(usual.expected, 0.01)) ** 1.5
        else:
            shift = max(0.0, value**3 - float((line**3).mean())) ** 0.5
        before, now = _words(name, usual.expected, value, usual_variance)
        changes.append(
            Change(
                name=f"{label}{name}",
                effect=normal_distance(shift, ratio),
                p_value=p_value,
                before=before,
                now=now,
                history=tuple(line.tolist()),
                newest=value,
            )
        )
    return changes


def _words(name: str, expected: float, value: float, variance: float) -> tuple[str, str]:
    if name == "level":
        return f"mean {expected:.5g}", f"mean {value:.5g}"
    deviations = [float(np.sqrt(max(one, 0.0) ** 3 * variance)) for one in (expected, value)]
    what = "deviation" if name == "spread" else "off the usual week by"
    return f"{what} {deviations[0]:.4g}", f"{what} {deviations[1]:.4g}"


def _gaps(learned: Mapping[str, Any], series: DailySeries, today: int, name: str) -> Change:
    """Missing days of the last four weeks, up to the last day of all series."""
    silent = min(DAYS, today - series.last_day)
    newest = series.observed[-(DAYS - silent) :] if silent < DAYS else series.observed[:0]
    missing = silent + int((~newest).sum())
    days = silent + len(newest)
    return compare_shares(name, (learned["missing"], learned["days"]), (missing, days), _GAP_DAYS)


def _usual(line: np.ndarray, weeks_later: float, *, seasonal: bool) -> _Usual:
    """What a line of the profile is expected to go on with so many weeks after its last."""
    ways = [_stretch(line[::-WEEKS], 1.0)]
    if seasonal:
        ways += [way for way in (_last_year(line, weeks_later), _all_years(line, weeks_later)) if way]
    return min(ways, key=_reach)


def _last_year(line: np.ndarray, weeks_later: float) -> _Usual | None:
    """The same as in the last such season that was learned; None where too little was."""
    years = max(1, int(np.ceil(weeks_later / _YEAR)))
    place = len(line) - 1 + weeks_later - _YEAR * years
    if place < 0:
        return None
    before = float(np.interp(place, np.arange(len(line)), line))
    for lag, wandering in ((years, 1.0), (1, float(years))):  # a wandering series goes further in more years
        differences = (line[_YEAR * lag :] - line[: -_YEAR * lag])[::-WEEKS]
        if len(differences) >= _FEWEST:
            usual = _stretch(differences, wandering)
            return usual._replace(expected=before + usual.expected)
    return None


def _all_years(line: np.ndarray, weeks_later: float) -> _Usual | None:
    """The mean of that season in all years that were learned; None of fewer than three."""
    years = len(line) // _YEAR
    if years < 3:
        return None
    table = line[-years * _YEAR :].reshape(years, _YEAR)
    place = (_YEAR - 1 + weeks_later) % _YEAR
    season = np.append(table.mean(axis=0), table[:, 0].mean())  # the last week goes over into the first
    others = (table.sum(axis=0) - table) / (years - 1)
    usual = _stretch((table - others).reshape(-1)[::-WEEKS], 1.0)
    return usual._replace(expected=float(np.interp(place, np.arange(_YEAR + 1), season)) + usual.expected)


def _stretch(values: np.ndarray, wandering: float) -> _Usual:
    """What another value beside these, in their order, is expected to be; its variance is `wandering` times theirs."""
    count, mean = len(values), float(values.mean())
    rest = values - mean
    square = float((rest**2).mean())
    if count < 2 or square == 0:
        return _Usual(mean, 0.0, 1.0)
    inflation = 1.0
    for lag in range(1, count // 2):
        correlation = float((rest[lag:] * rest[:-lag]).sum()) / (count * square)
        if correlation <= 0:
            break
        inflation += 2 * correlation
    effective = min(float(count), max(2.0, count / inflation))
    variance = wandering * square / (1 - 1 / effective) * (1 + 1 / effective)
    return _Usual(mean, variance**0.5, effective - 1)


def _reach(usual: _Usual) -> float:
    """How far another stretch may be off before it is noticed, one time in a hundred."""
    from scipy.stats import t

    return float(usual.deviation * t.isf(0.005, usual.freedom))


def _p_value(value: float, usual: _Usual, *, one_sided: bool) -> float:
    from scipy.stats import t

    if usual.deviation == 0:  # never changed, or one stretch alone
        return 1.0
    away = (value - usual.expected) / usual.deviation
    return float(t.sf(away, usual.freedom) if one_sided else 2 * t.sf(abs(away), usual.freedom))
