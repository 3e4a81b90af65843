import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from stages.data.files import write_json
from stages.data.prepared import open_prepared
from stages.data.store import ragged
from stages.preprocess import preprocess
from stages.preprocessing.preparation import Preparation, PreparationError
from stages.preprocessing.profile import Observed
from stages.tasks.protocol import Task

COLUMNS = {"values": ragged(np.int32)}


def fill(output: Preparation, accepted: int, rejected: int) -> None:
    with output.store(COLUMNS) as store:
        for number in range(accepted):
            store.append({"id": str(number), "split": "train", "length": 1, "values": np.array([number])})
    for number in range(rejected):
        output.reject(id=str(number), file="a.csv", rule="bad_line", reason="2 columns; allowed: 3", content="x" * 9999)
    output.describe({"classes": ["é"]})


def test_what_is_accepted_and_what_is_rejected_is_all_there(tmp_path):
    with Preparation(tmp_path / "prepared", max_rejected_share=0.5) as output:
        fill(output, 3, 2)
        output.repair("sorted", 4)
    assert output.metrics() == {
        "accepted": 3,
        "rejected": 2,
        "rejected_share": 0.4,
        "rejected_bad_line": 2,
        "repaired_sorted": 4,
    }
    rows = pq.read_table(tmp_path / "prepared" / "rejected.parquet").to_pylist()
    assert [row["id"] for row in rows] == ["0", "1"]
    assert rows[0]["reason"] == "2 columns; allowed: 3"
    assert len(rows[0]["content"]) == 2000
    store, description = open_prepared(tmp_path / "prepared")
    assert (len(store), description) == (3, {"classes": ["é"]})


def test_too_many_rejections_fail_and_say_which_rule(tmp_path):
    with (
        pytest.raises(PreparationError, match=r"2 of 5 records \(40 %\).*allows \(39.0%\): bad_line 2 \(a.csv, 0: 2 c"),
        Preparation(tmp_path / "prepared", max_rejected_share=0.39) as output,
    ):
        fill(output, 3, 2)


def test_a_preparation_that_fails_keeps_what_it_rejected_until_one_succeeds(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    counts = {"accepted": 3, "rejected": 2}
    parts: Any = SimpleNamespace(prepare=lambda raw, params, output: fill(output, **counts))
    look: Any = SimpleNamespace(learned=lambda folder: Observed(examples=3))
    task: Any = SimpleNamespace(
        name="translation", paths=Task("translation").paths, prepare=lambda: parts, profile=lambda: look
    )
    params: Any = SimpleNamespace(prepare=SimpleNamespace(max_rejected_share=0.1))
    kept = Path("data", "translation", "rejected.parquet")
    with pytest.raises(PreparationError, match=rf"bad_line 2 \(a.csv, 0: 2 columns; allowed: 3\); see {kept}"):
        preprocess(task, params)
    assert [row["id"] for row in pq.read_table(kept).to_pylist()] == ["0", "1"]
    assert not Path("data", "translation", "prepared").exists()
    counts["rejected"] = 0
    preprocess(task, params)
    assert not kept.exists()
    assert capsys.readouterr().out == "translation: 3 records; rejected 0\n"


def series(output: Preparation, days: dict[str, int], lost: dict[str, int]) -> None:
    """Rows of the store with so many days each, and rows that are lost with so many."""
    output.units("days", "series")
    with output.store(COLUMNS) as store:
        for name, count in days.items():
            store.append({"id": name, "split": "train", "length": count, "values": np.arange(count)})
            output.accept(count)
    for name, count in lost.items():
        output.reject(id=name, file="", rule="too_short", reason=f"{count} days", values=count, rows=1)
    output.describe({})


@pytest.mark.parametrize(
    ("days", "lost", "share", "message"),
    [
        ({"a": 50, "b": 50}, {"long": 800}, 800 / 900, r"800 of 900 days \(89 %\), 1 of 3 series \(33 %\), more than"),
        ({"a": 100, "b": 100}, {"c": 2, "d": 2, "e": 2}, 0.6, r"6 of 206 days \(2.9 %\), 3 of 5 series \(60 %\)"),
    ],
)
def test_a_lost_row_counts_by_its_values_and_as_a_row_whichever_is_more(tmp_path, days, lost, share, message):
    with (
        pytest.raises(PreparationError, match=message),
        Preparation(tmp_path / "prepared", max_rejected_share=0.5) as output,
    ):
        series(output, days, lost)
    assert output.metrics()["rejected_share"] == share


def test_the_closing_line_counts_and_shows_the_first_of_each_rule(tmp_path):
    with Preparation(tmp_path / "prepared", max_rejected_share=1.0) as output:
        series(output, {"a": 1180, "b": 2000}, {})
        for line, found in ((3, "151,65"), (4, "1,0")):
            reason = f"found {found!r}; allowed is a number"
            output.reject(id=f"line {line}", file="s.csv", rule="value", reason=reason, values=10)
        output.repair("unsorted_row", 0, example="nobody")
        output.repair("duplicate_row", 0)
        output.repair("unsorted_row", 2, example="a: 2020-01-02 after 2020-02-01")
        output.repair("unsorted_row", 797, example="b: later")
        output.fill("filled_day", 0, of=730)
        output.fill("filled_day", 170, of=170, example="b: 2020-03-01")
    assert output.summary("forecast", "data/r.parquet") == (
        "warning: forecast: 3,180 days of 2 series; rejected 20 of 3,200 days (0.6 %): "
        "value 20 (s.csv, line 3: found '151,65'; allowed is a number); "
        "repaired 799 unsorted_row (a: 2020-01-02 after 2020-02-01); "
        "filled 170 of 900 days (19 %; first b: 2020-03-01) — see data/r.parquet"
    )
    assert (output.metrics()["repaired_filled_day"], output.metrics()["repaired_unsorted_row"]) == (170, 799)


@pytest.mark.parametrize(
    ("rejected", "repaired", "doubtful", "loud"),
    [(0, 0, False, False), (1, 0, False, False), (3, 0, False, True), (0, 50, False, False), (0, 50, True, True)],
)
def test_the_closing_line_is_a_warning_where_much_was_lost_or_is_in_doubt(tmp_path, rejected, repaired, doubtful, loud):
    with Preparation(tmp_path / "prepared", max_rejected_share=1.0) as output:
        fill(output, 200, rejected)
        output.repair("unsorted_row", repaired, doubtful=doubtful)
    assert output.summary("toy", "x").startswith("warning: toy: 200 records; rejected" if loud else "toy: 200 records")


def test_an_example_is_one_line_that_commands_no_terminal(tmp_path):
    with Preparation(tmp_path / "prepared", max_rejected_share=1.0) as output:
        fill(output, 3, 0)
        output.reject(id="a\nb", file="", rule="odd", reason="\x1b[2J é " + "x" * 999)
    line = output.summary("toy", "x")
    assert line.isprintable()
    assert r"odd 1 (a\nb: \x1b[2J é xxx" in line
    assert len(line) < 400


def test_an_error_of_the_task_says_what_had_been_rejected(tmp_path):
    def broken(output: Preparation) -> None:
        fill(output, 1, 2)
        raise ValueError("no cat to train on")

    message = r"no cat to train on; rejected so far: bad_line 2 \(a.csv, 0: 2 col"
    with (
        pytest.raises(PreparationError, match=message),
        Preparation(tmp_path / "prepared", max_rejected_share=1.0) as output,
    ):
        broken(output)


def test_nothing_accepted_fails(tmp_path):
    with (
        pytest.raises(PreparationError, match="all of 1 records were rejected: bad_line 1"),
        Preparation(tmp_path / "prepared", max_rejected_share=1.0) as output,
    ):
        fill(output, 0, 1)


def test_json_is_sorted_and_refuses_nan(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": "é"})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "a": "é",\n  "b": 1\n}\n'
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["b"] == 1
