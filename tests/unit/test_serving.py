from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stages.serving.predictor import InvalidRows, Item, Predictor


class Double(Predictor):
    inputs = {"number": "any"}
    outputs = {"double": "double"}
    options = {"times": 2}
    requirements = ()

    def __init__(self, folder: Path = Path()) -> None:
        self.calls = 0

    def read(self, item: Item) -> Any:
        number = item.content["number"]
        if not isinstance(number, (int, float)):
            raise ValueError(f"number: found {number!r}; allowed: a number")
        return number

    def predict_batch(self, examples, options):
        self.calls += 1
        return [[{"double": options["times"] * example}] for example in examples]


def frame(*numbers: Any) -> pd.DataFrame:
    return pd.DataFrame({"number": pd.Series(numbers, dtype=object)})


def test_rows_are_answered_in_their_order_and_in_one_batch():
    predictor = Double()
    assert predictor.predict(frame(3, 1, 2))["double"].tolist() == [6, 2, 4]
    assert predictor.calls == 1


@pytest.mark.parametrize(("on_error", "columns"), [("raise", ["double"]), ("report", ["double", "error"])])
def test_nothing_asked_is_nothing_answered_in_the_right_columns(on_error, columns):
    answer = Double().predict(frame(), on_error=on_error)
    assert list(answer.columns) == columns
    assert answer.empty
    with pytest.raises(ValueError, match=r"^columns missing: \['number'\]; found \[\]$"):
        Double().predict(pd.DataFrame(), on_error=on_error)


def test_options_have_defaults_and_unknown_ones_are_refused():
    assert Double().predict(frame(3), times=5)["double"].tolist() == [15]
    with pytest.raises(ValueError, match=r"unknown params \['beam'\]; allowed: on_error, times"):
        Double().predict(frame(3), beam=1)


def test_every_bad_row_is_named_with_its_reason():
    with pytest.raises(InvalidRows) as caught:
        Double().predict(frame("a", 1, None))
    assert str(caught.value).splitlines() == [
        "2 of 3 rows cannot be answered:",
        "row 0: number: found 'a'; allowed: a number",
        "row 2: number: found None; allowed: a number",
    ]


def test_reported_rows_get_nulls_and_a_text_and_the_others_their_answer():
    answer = Double().predict(frame("a", 1), on_error="report")
    assert list(answer.columns) == ["double", "error"]
    assert answer["double"].isna().tolist() == [True, False]
    assert answer["double"][1] == 2
    assert answer["error"][0] == "number: found 'a'; allowed: a number"
    assert pd.isna(answer["error"][1])


def test_all_rows_bad_and_no_rows_at_all():
    assert Double().predict(frame("a"), on_error="report")["double"].isna().all()
    assert list(Double().predict(frame()).columns) == ["double"]


def test_a_missing_column_and_a_wrong_on_error_are_named():
    with pytest.raises(ValueError, match=r"columns missing: \['number'\]; found \['other'\]"):
        Double().predict(pd.DataFrame({"other": [1]}))
    with pytest.raises(ValueError, match="allowed: 'raise', 'report'"):
        Double().predict(frame(1), on_error="ignore")


def test_many_rows_are_read_and_answered_a_chunk_at_a_time(monkeypatch):
    monkeypatch.setattr(Double, "chunk_size", 2)
    predictor = Double()
    answer = predictor.predict(frame(1, "a", 3, 4, 5), on_error="report")
    assert answer["double"].fillna(-1).tolist() == [2, -1, 6, 8, 10]
    assert predictor.calls == 3


def test_bad_rows_of_all_chunks_are_named_and_nothing_is_answered_after_the_first(monkeypatch):
    monkeypatch.setattr(Double, "chunk_size", 2)
    predictor = Double()
    with pytest.raises(InvalidRows, match="2 of 5 rows") as caught:
        predictor.predict(frame(1, "a", 3, 4, "b"))
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()[1:]] == ["row 1", "row 4"]
    assert predictor.calls == 0
