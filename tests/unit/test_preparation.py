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
        pytest.raises(PreparationError, match=r"2 of 5 records rejected \(40.0%\).*allows \(39.0%\): bad_line 2"),
        Preparation(tmp_path / "prepared", max_rejected_share=0.39) as output,
    ):
        fill(output, 3, 2)


def test_a_preparation_that_fails_keeps_what_it_rejected_until_one_succeeds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    counts = {"accepted": 3, "rejected": 2}
    parts: Any = SimpleNamespace(prepare=lambda raw, params, output: fill(output, **counts))
    task: Any = SimpleNamespace(paths=Task("translation").paths, prepare=lambda: parts)
    params: Any = SimpleNamespace(prepare=SimpleNamespace(max_rejected_share=0.1))
    kept = Path("data", "translation", "rejected.parquet")
    with pytest.raises(PreparationError, match=rf"bad_line 2; see {kept}"):
        preprocess(task, params)
    assert [row["id"] for row in pq.read_table(kept).to_pylist()] == ["0", "1"]
    assert not Path("data", "translation", "prepared").exists()
    counts["rejected"] = 0
    preprocess(task, params)
    assert not kept.exists()


def test_nothing_accepted_fails(tmp_path):
    with (
        pytest.raises(PreparationError, match="no record was accepted of 1"),
        Preparation(tmp_path / "prepared", max_rejected_share=1.0) as output,
    ):
        fill(output, 0, 1)


def test_json_is_sorted_and_refuses_nan(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": "é"})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "a": "é",\n  "b": 1\n}\n'
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["b"] == 1
