"""Where drawings come from: the right addresses, and doodles that are worth learning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from stages.tasks.sketch.params import SourceParams
from stages.tasks.sketch.source import download as source
from stages.tasks.sketch.source.doodles import DOODLES
from stages.tasks.sketch.source.sample import records
from tests.unit.sketch_files import run

HOST = "https://storage.googleapis.com/quickdraw_dataset"


def params(**changes: Any) -> SourceParams:
    block = {
        "kind": "quickdraw",
        "per_category": 100,
        "seed": 1,
        "url": HOST,
        "categories": {"alarm clock": "sketchrnn", "eye": "simplified", "duck": "raw"},
        "also": [],
        "also_test": False,
    }
    return SourceParams.model_validate({**block, **changes})


def test_each_form_is_asked_for_where_the_host_has_it(tmp_path: Path) -> None:
    wanted = source.requests(params(), tmp_path)
    assert [(r.url, r.target.relative_to(tmp_path).as_posix(), r.lines) for r in wanted] == [
        (f"{HOST}/sketchrnn/alarm%20clock.npz", "sketchrnn/alarm clock.npz", None),
        (f"{HOST}/full/raw/duck.ndjson", "raw/duck.ndjson", 100),
        (f"{HOST}/full/simplified/eye.ndjson", "simplified/eye.ndjson", 100),
    ]


def test_no_number_of_drawings_means_the_whole_file(tmp_path: Path) -> None:
    assert {request.lines for request in source.requests(params(per_category=0), tmp_path)} == {None}


def test_the_first_drawings_of_a_file_are_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    host = tmp_path / "host" / "full" / "simplified"
    host.mkdir(parents=True)
    for name in ("ice cream", "cat"):
        (host / f"{name}.ndjson").write_text("".join(f'{{"n": {n}}}\n' for n in range(50)))
    categories = {"ice cream": "simplified", "cat": "simplified"}
    (tmp_path / "raw").mkdir()
    source.download(params(url=(tmp_path / "host").as_uri(), per_category=3, categories=categories), tmp_path / "raw")
    assert (tmp_path / "raw/simplified/ice cream.ndjson").read_text() == '{"n": 0}\n{"n": 1}\n{"n": 2}\n'
    recorded = json.loads((tmp_path / "raw/downloads.json").read_text())
    assert [entry["file"] for entry in recorded] == ["simplified/cat.ndjson", "simplified/ice cream.ndjson"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": "sample", "per_category": 0}, "per_category of at least 1"),
        ({"categories": {"eye": "simplified"}}, "at least 2 categories"),
        ({"categories": {"../eye": "simplified", "cat": "raw"}}, "pattern"),
        ({"categories": {"eye": "full", "cat": "raw"}}, "'simplified', 'raw' or 'sketchrnn'"),
    ],
)
def test_a_source_that_makes_no_sense_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        params(**changes)


def test_doodles_look_like_the_hosts_files(tmp_path: Path) -> None:
    source.download(params(kind="sample", per_category=5), tmp_path)
    files = sorted((tmp_path / "simplified").iterdir())
    assert [path.stem for path in files] == sorted(DOODLES)
    assert len(files) >= 10
    for path in files:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        assert len(lines) == 5
        for line in lines:
            assert list(line) == ["word", "countrycode", "timestamp", "recognized", "key_id", "drawing"]
            assert line["word"] == path.stem
            values = np.concatenate([np.array(stroke).T for stroke in line["drawing"]])
            assert values.dtype.kind == "i"
            assert 0 <= values.min() < 25  # resampling can cut off the outermost corner, as in the host's files
            assert 225 <= values.max() <= 255


def test_more_doodles_leave_the_first_ones_as_they_were_and_none_is_twice() -> None:
    few, many = list(records("fish", 20, seed=3)), list(records("fish", 300, seed=3))
    assert few == many[:20]
    assert len({record["key_id"] for record in many}) == 300
    assert few != list(records("fish", 20, seed=4))


def test_counting_strokes_and_points_and_measuring_boxes_does_not_tell_doodles_apart(tmp_path: Path) -> None:
    from stages.tasks.sketch.evaluate.evaluate import linear_accuracy
    from stages.tasks.sketch.model.network import SketchDataset

    source.download(params(kind="sample", per_category=80), tmp_path / "raw")
    metrics = run(tmp_path / "raw", tmp_path / "out", validation_share=0.1, test_share=0.3, max_points=1000)
    assert metrics["rejected"] == 0
    train, test = (SketchDataset(tmp_path / "out", split, ["position"]) for split in ("train", "test"))
    accuracy = linear_accuracy(train, test)
    assert 1 / len(DOODLES) < accuracy < 0.6
