"""Each task's features: what a user sends looks as it did when it was prepared, and what has changed looks other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.data.prepared import open_prepared
from stages.fetch.host import PRESENT
from stages.models.learned import FITTED_SPLITS
from stages.params import TaskParams, load
from stages.preprocessing.preparation import Preparation
from stages.preprocessing.profile import Known, Numbers, profile_of, write_profile
from stages.tasks.protocol import Task

SMALL = {
    "sketch": {"per_category": 12},
    "video": {"clips_per_class": 10},
    "translation": {"pairs": 300},
    "forecast": {},
}


@pytest.fixture(scope="module", params=list(SMALL))
def sample(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Task, Path, Path]:
    """A task, its raw sample and the prepared data."""
    task, folder = Task(request.param), tmp_path_factory.mktemp(request.param)
    params: TaskParams = load()[task.name]
    raw, prepared = folder / "raw", folder / "prepared"
    raw.mkdir()
    task.source().download(params.source.model_copy(update=SMALL[task.name]), raw, PRESENT)
    with Preparation(prepared, max_rejected_share=1.0) as output:
        task.prepare().prepare(raw, params.prepare, output)
    return task, raw, prepared


def rows(task: Task, raw: Path, prepared: Path) -> tuple[np.ndarray, list[list[dict[str, Any]]]]:
    """Some rows of the store, and the same as a user sends them, by the task's own comparison."""
    store, _ = open_prepared(prepared)
    test = store.rows("test")[:20]
    if task.name == "forecast":
        (source,) = raw.glob("*.csv")
        renamed = source.read_text(encoding="utf-8").replace("date,", "ds,", 1).replace("temp_max", "y", 1)
        (prepared / "asked.csv").write_text(renamed, encoding="utf-8")
        return np.arange(len(store)), list(task.rows().groups(str(prepared / "asked.csv")))
    asked = task.comparison().examples(prepared, raw, np.arange(len(test)))
    return test, [[{str(column): row[column] for column in row}] for row in asked.to_dict("records")]


def test_a_file_looks_as_the_prepared_data_do(sample):
    task, raw, prepared = sample
    _, description = open_prepared(prepared)
    chosen, asked = rows(task, raw, prepared)
    known = Known(description, prepared)
    stored, sent = task.profile().current(prepared, chosen, known), task.file_profile().read(asked, known)
    assert (sent.examples, sent.rejected) == (stored.examples, {})
    for name, feature in sent.features.items():
        if isinstance(feature, Numbers):
            np.testing.assert_array_equal(feature.values, stored.features[name].values)
        else:
            np.testing.assert_array_equal(feature.codes, stored.features[name].codes)
    for one, other in zip(sent.series, stored.series, strict=True):
        assert one.start == other.start
        np.testing.assert_array_equal(one.values, other.values)


def test_what_was_not_learned_is_the_test_split_and_nothing_else(sample):
    task, _, prepared = sample
    store, _ = open_prepared(prepared)
    learned = task.model().learned(prepared, FITTED_SPLITS)
    known = learned.may_hold(task.model().identities(prepared, np.arange(len(store))))
    if task.name == "forecast":  # a series is one row; its last days are the test split
        assert known.all()
    else:
        assert np.flatnonzero(known).tolist() == np.sort(store.rows(FITTED_SPLITS)).tolist()


def test_what_cannot_be_read_is_counted_by_its_rule(sample):
    task, _, prepared = sample
    bad = {
        "sketch": ({"drawing": [[[1, 1], [2, 2]]]}, "no_extent"),
        "video": ({"path": str(prepared / "nothing.mp4")}, "no_file"),
        "translation": ({"text": "1 " * 500}, "too_long"),
        "forecast": ({"unique_id": "a", "ds": "2015-01-01", "y": "1"}, "too_short"),
    }
    row, rule = bad[task.name]
    _, description = open_prepared(prepared)
    found = task.file_profile().read([[row]], Known(description, prepared))
    assert (found.examples, dict(found.rejected)) == (0, {rule: 1})


def test_a_profile_is_pure_small_and_of_the_split_that_is_learned(sample, tmp_path):
    task, raw, prepared = sample
    counts = {"accepted": 1, "rejected": 0}
    made = profile_of(task.profile().learned(prepared), counts)
    for name in ("one", "other"):
        write_profile(tmp_path / name, profile_of(task.profile().learned(prepared), counts))
    text = (tmp_path / "one").read_text(encoding="utf-8")
    assert text == (tmp_path / "other").read_text(encoding="utf-8")
    assert len(text.encode()) < 100_000
    assert str(raw.parent) not in text
    store, _ = open_prepared(prepared)
    assert made["examples"] == len(store.rows("train"))
    if task.name == "forecast":
        (lines,) = made["series"]["lines"].values()
        assert lines["days"] == store.value("length", 0)  # the others too: by them the champion was judged


def test_half_a_drawing_and_darker_frames_look_other():
    from stages.tasks.sketch.prepare.profile import shape_features
    from stages.tasks.video.prepare.profile import picture_features

    whole = np.array([[0, 0, 0], [100, 0, 0], [100, 50, 1], [20, 50, 0], [20, 20, 1]], dtype=np.uint8)
    found = {name: feature.values.tolist() for name, feature in shape_features([whole, whole[:3]]).items()}
    assert found == {
        "points": [5.0, 3.0],
        "strokes": [2.0, 1.0],
        "width": [100.0, 100.0],
        "height": [50.0, 50.0],
        "ink": [180.0, 150.0],
    }
    clip = np.full((4, 8, 8, 1), 200, dtype=np.uint8)
    clip[2:] = 100
    features = picture_features([clip, clip // 2], Known({}, Path()))
    assert features["brightness"].values.tolist() == [150.0, 75.0]
    assert features["contrast"].values.tolist() == [50.0, 25.0]
    assert features["frames"].values.tolist() == [4.0, 4.0]
    assert features["motion"].values == pytest.approx([100 / 3, 50 / 3])
    frozen = Known({"encoder": {"frozen": True}}, Path())
    assert list(picture_features([clip], frozen)) == ["frames", "brightness"]


def test_a_task_without_data_of_its_own_has_the_profile_of_their_owner():
    assert Task("drawing").profile() is Task("sketch").profile()
    assert Task("drawing").paths.profile == Task("sketch").paths.profile
    with pytest.raises(ValueError, match="has no data of its own but those of sketch: `python -m stages.drift sketch`"):
        Task("drawing").file_profile()
