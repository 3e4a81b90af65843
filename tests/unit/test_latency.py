"""Latency is measured on the example alone and in company, in bounded time."""

from __future__ import annotations

import pandas as pd
import pytest

from stages.registry import latency


class Model:
    """Takes a first second to get ready, then some time a call and some a row, by a clock of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, a_call: float, a_row: float) -> None:
        self.now, self.a_call, self.a_row = 0.0, a_call, a_row
        self.asked: list[pd.DataFrame] = []
        monkeypatch.setattr(latency.time, "perf_counter", lambda: self.now)

    def predict(self, rows: pd.DataFrame) -> pd.DataFrame:
        self.now += self.a_call + self.a_row * len(rows) + (0 if self.asked else 1.0)
        self.asked.append(rows)
        return rows


def test_one_answer_and_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(monkeypatch, a_call=1 / 128, a_row=1 / 128)
    found = latency.measure(model.predict, pd.DataFrame({"text": ["a"]}))
    assert found == {
        "latency_p50_ms": 1000 / 64,
        "latency_p95_ms": 1000 / 64,
        "rows_per_s": 44 / (45 / 128),  # 44 copies, which one by one would take 0.7 s
    }
    assert len(model.asked[-1]) == 44
    assert model.now - 1.0 < 2.0


@pytest.mark.parametrize(("a_call", "calls"), [(1e-6, 202), (5.0, 5)])
def test_the_number_of_calls_is_bounded_from_both_sides(
    monkeypatch: pytest.MonkeyPatch, a_call: float, calls: int
) -> None:
    model = Model(monkeypatch, a_call=a_call, a_row=0.0)
    latency.measure(model.predict, pd.DataFrame({"text": ["a"]}))
    assert len(model.asked) == calls
    assert len(model.asked[-1]) == (1 if a_call == 5.0 else 512)


def test_copies_of_a_series_are_series_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(monkeypatch, a_call=0.125, a_row=0.0)
    latency.measure(model.predict, pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2020-01-01", periods=28)}))
    assert not model.asked[-1].duplicated(["unique_id", "ds"]).any()
    assert [rows["unique_id"].nunique() for rows in (model.asked[0], model.asked[-1])] == [1, 5]
