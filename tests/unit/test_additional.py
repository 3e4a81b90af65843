"""`source.also`: growing files are pinned by their length, and download takes just that prefix."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.data.additional import additional_files
from stages.evaluation import card
from stages.feedback.feedback import Feedback
from stages.fetch import DownloadError, question
from stages.fetch.host import PRESENT
from stages.fetch.tree import Tree
from stages.params import load
from stages.params_yaml import ParamsError
from stages.preprocessing.preparation import Preparation
from stages.refresh import Refreshed, refresh_task
from stages.sources import additional, pins
from stages.sources.pinned import host_of
from stages.tasks.protocol import Task
from stages.tasks.sketch.data.quickdraw import raw_files
from tests.unit.http_server import Host
from tests.unit.video_clips import write_clip

REPOSITORY = Path(__file__).resolve().parents[2]
PARAMS = load(REPOSITORY / "params.yaml")
SMALL = {"sketch": {"per_category": 12}, "video": {"clips_per_class": 10}, "translation": {"pairs": 300}}
TASKS = tuple(SMALL)


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, with the pins of samples; no host is asked twice."""
    folder = tmp_path / "checkout"
    for task in TASKS:
        pins.write(folder / pins.path_of(task), pins.NOTHING)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(question, "_ATTEMPTS", 1)
    return folder


def params_of(task: str, *also: str, **source: object) -> Any:
    params = PARAMS[task]
    block = params.source.model_copy(update={**SMALL[task], "also": list(also), **source})
    return params.model_copy(update={"source": block})


def refresh(task: str, params: Any, *, check: bool = False) -> Refreshed:
    return refresh_task(Task(task), params, check=check)


def downloaded(task: str, params: Any, folder: Path) -> dict[str, bytes]:
    """The additional files of a download."""
    folder.mkdir()
    Task(task).source().download(params.source, folder, host_of(task, params.source))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in additional_files(folder, "**/*")}


def translations(*pairs: tuple[str, str]) -> Path:
    kept = Feedback(Path("feedback"), "translation")
    for source, target in pairs:
        kept.add({"source": source, "target": target})
    (path,) = Path("feedback/translation").glob("*.tsv")
    return path


def drawing(word: str, number: int) -> dict[str, Any]:
    return {"word": word, "drawing": [[[0, 255, 100 + number], [0, 7, 60]]], "recognized": False}


def test_what_is_appended_changes_nothing_until_the_next_refresh(tmp_path: Path) -> None:
    params = params_of("translation", "feedback/translation")
    path = translations(("one", "eins"))
    first = path.read_bytes()
    assert refresh("translation", params).summary == "pinned for the first time: 1 file"
    name = f"also/train/1/{path.name}"
    pinned = pins.read(pins.path_of("translation")).files[name]
    assert (pinned.url, pinned.content.bytes, pinned.content.lines) == (
        f"feedback/translation/{path.name}",
        len(first),
        1,
    )
    assert refresh("translation", params).state == "unchanged"

    translations(("two", "zwei"))
    assert downloaded("translation", params, tmp_path / "kept") == {name: first}
    shutil.rmtree(".fetched")
    assert downloaded("translation", params, tmp_path / "again") == {name: first}  # the prefix, from the file itself
    assert refresh("translation", params, check=True).summary == "1 of 1 files changed, 1 line more"
    assert refresh("translation", params).state == "new"
    assert downloaded("translation", params, tmp_path / "both") == {name: path.read_bytes()}
    assert json.loads((tmp_path / "both/corpus.json").read_text())["parts"][-1]["split"] == "train"


def test_a_line_that_is_being_written_waits_for_the_next_refresh(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    params = params_of("translation", "feedback/translation")
    path = translations(("one", "eins"))
    whole = path.read_bytes()
    path.write_bytes(whole + b"two\tzw")
    refresh("translation", params)
    assert f"{path.name}: its last line is not complete yet, so its last 6 bytes are left out for now" in caplog.text
    assert list(downloaded("translation", params, tmp_path / "half").values()) == [whole]
    unpinned = params_of("translation", "feedback/translation", seed=2)
    assert list(downloaded("translation", unpinned, tmp_path / "unpinned").values()) == [whole]
    path.write_bytes(whole + b"two\tzwei\n")
    assert refresh("translation", params).summary == "1 of 1 files changed, 1 line more"
    path.write_bytes(b"half")
    assert refresh("translation", params_of("translation", str(path))).state == "new"
    assert list(downloaded("translation", params_of("translation", str(path)), tmp_path / "none").values()) == [b""]


def test_a_file_that_grows_at_a_host_is_pinned_by_its_length_too(host: Host, tmp_path: Path) -> None:
    file = host.put("/corrections.tsv", b"one\teins\n")
    params = params_of("translation", f"{host.url}/corrections.tsv?version=newest")
    refresh("translation", params)
    file.content, file.etag = b"one\teins\ntwo\tzwei\nthr", '"2"'
    shutil.rmtree(".fetched")
    assert list(downloaded("translation", params, tmp_path / "raw").values()) == [b"one\teins\n"]
    assert refresh("translation", params).summary == "1 of 1 files changed, 1 line more"
    assert list(downloaded("translation", params, tmp_path / "more").values()) == [b"one\teins\ntwo\tzwei\n"]


def test_corrections_that_are_taken_away_or_changed_are_refused(tmp_path: Path) -> None:
    params = params_of("translation", "feedback/translation")
    path = translations(("one", "eins"), ("two", "zwei"))
    refresh("translation", params)
    before = pins.path_of("translation").read_text()
    path.write_bytes(path.read_bytes().replace(b"eins", b"ein"))
    assert "1 row lost, the first one\teins" in refresh("translation", params).summary
    shutil.copy(path, path.with_name("2027-01-01.tsv"))
    path.unlink()
    result = refresh("translation", params)
    assert (result.state, f"also/train/1/{path.name} is gone" in result.summary) == ("refused", True)
    shutil.rmtree("feedback")
    result = refresh("translation", params)
    assert (result.state, "feedback/translation: no such folder, or it is empty" in result.summary) == (
        "refused",
        True,
    )
    assert pins.path_of("translation").read_text() == before
    assert len(downloaded("translation", params, tmp_path / "raw")) == 1  # what is pinned is still here


def test_an_address_with_nothing_to_learn_from_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"source\.also: feedback/video: no such folder, or it is empty; .*s3, gs"):
        refresh("video", params_of("video", "feedback/video"))
    with pytest.raises(ValueError, match=r"s3://nowhere/x: no such folder, or it is empty; remove the address, or put"):
        Task("sketch").source().requests(params_of("sketch", "s3://nowhere/x").source, Path("raw"), _EmptyBucket())
    Path("notes").mkdir()
    Path("notes/a.txt").write_text("x")
    with pytest.raises(ValueError, match=r"notes: no file in it can be used for training; found a\.txt"):
        refresh("sketch", params_of("sketch", "notes"))
    Path("notes/a.ndjson").symlink_to("nowhere")
    with pytest.raises(ValueError, match=r"notes: a\.ndjson: a link to nothing"):
        refresh("sketch", params_of("sketch", "notes"))
    with pytest.raises(DownloadError, match=r"gone\.ndjson: no such file"):
        refresh("sketch", params_of("sketch", "gone.ndjson"))


class _EmptyBucket:
    def tree(self, *arguments: object, **options: object) -> Tree:
        return Tree()


def test_a_worktree_reads_the_folder_of_the_main_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = translations(("one", "eins"))
    main = Path.cwd()
    monkeypatch.setattr(additional, "project_root", lambda: main)
    (tmp_path / "worktree").mkdir()
    monkeypatch.chdir(tmp_path / "worktree")
    found = downloaded("translation", params_of("translation", "feedback/translation"), tmp_path / "raw")
    assert found == {f"also/train/1/{path.name}": b"one\teins\n"}


def test_no_path_of_a_checkout_is_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, main = translations(("one", "eins")), Path.cwd()
    monkeypatch.setattr(additional, "project_root", lambda: main)
    outside = tmp_path / "elsewhere.tsv"
    outside.write_bytes(b"two\tzwei\n")
    worktree = tmp_path / "worktree"
    worktree.mkdir()
    written: list[tuple[list[str], list[str]]] = []
    for place, also in (
        (main, "feedback/translation"),
        (main, str(main / "feedback/translation")),
        (worktree, "feedback/translation"),
        (worktree, str(main / "feedback/translation" / path.name)),
    ):
        monkeypatch.chdir(place)
        params = params_of("translation", also, str(outside))
        refresh("translation", params)
        folder = tmp_path / str(len(written))
        assert list(downloaded("translation", params, folder).values()) == [b"one\teins\n", b"two\tzwei\n"]
        pinned = pins.read(pins.path_of("translation")).files.values()
        recorded = json.loads((folder / "downloads.json").read_text())
        written.append((sorted(file.url for file in pinned), sorted(entry["url"] for entry in recorded)))
        shutil.rmtree(".fetched", ignore_errors=True)  # the next looks for the file itself
    names = sorted([f"feedback/translation/{path.name}", str(outside)])
    assert written == [(names, names)] * 4


@pytest.mark.parametrize("also", ["feedback/sketch", "feedback/sketch/2026-01-01.NDJSON"])
def test_an_ending_in_capitals_is_read(also: str, tmp_path: Path) -> None:
    Feedback(Path("feedback"), "sketch", ["clock"]).add(drawing("clock", 1))
    (path,) = Path("feedback/sketch").glob("*.ndjson")
    path = path.rename(path.with_name("2026-01-01.NDJSON"))
    params = params_of("sketch", also)
    refresh("sketch", params)
    found = {"also/train/1/2026-01-01.ndjson": path.read_bytes()}
    for name in ("kept", "again"):
        assert downloaded("sketch", params, tmp_path / name) == found
        assert [file.path.name for file in raw_files(tmp_path / name) if file.only_learned] == ["2026-01-01.ndjson"]
        shutil.rmtree(".fetched")
    assert refresh("sketch", params).state == "unchanged"
    shutil.copy(path, path.with_suffix(".ndjson"))
    with pytest.raises(ValueError, match=r"found 2026-01-01.NDJSON and 2026-01-01.ndjson; allowed: one of the two"):
        Task("sketch").source().requests(params_of("sketch", "feedback/sketch").source, Path("raw"), PRESENT)


def test_a_name_is_no_question_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "2026-01-01")
    Path("feedback/sketch").mkdir(parents=True)
    Path("feedback/sketch/${SECRET}.ndjson").write_text("{}\n")
    with pytest.raises(
        ValueError, match=r"sketch: \$\{SECRET\}\.ndjson: a name with \$\{…\}, .*; allowed are names without"
    ):
        refresh("sketch", params_of("sketch", "feedback/sketch"))


def test_a_worker_without_the_folder_is_told_what_it_needs(tmp_path: Path) -> None:
    params = params_of("translation", "feedback/translation")
    translations(("one", "eins"))
    refresh("translation", params)
    shutil.rmtree(".fetched")
    shutil.rmtree("feedback")
    with pytest.raises(DownloadError) as error:
        downloaded("translation", params, tmp_path / "raw")
    assert "a path exists on one machine only: run download there, or use an address that all machines reach" in str(
        error.value
    )
    assert "\n" not in str(error.value)


def test_what_is_of_no_known_class_is_not_fetched(tmp_path: Path) -> None:
    kept = Feedback(Path("feedback"), "sketch", ["clock"])
    kept.add(drawing("clock", 1))
    kept.add(drawing("hammer", 2))
    (day,) = Path("feedback/sketch").glob("*.ndjson")
    assert list(downloaded("sketch", params_of("sketch", "feedback/sketch"), tmp_path / "raw")) == [
        f"also/train/1/{day.name}"
    ]
    clips = Feedback(Path("feedback"), "video", ["other"])
    for label in ("other", "hammer"):
        clips.add({"label": label, "clip": b"\0\0\0\x20ftypisom"})
    (name,) = downloaded("video", params_of("video", "feedback/video"), tmp_path / "clips")
    assert name.startswith("also/train/1/other/20")


def test_a_folder_that_has_left_something_out_takes_clips_in(tmp_path: Path) -> None:
    Path("own/Grow").mkdir(parents=True)
    Path("own/Grow/a.mp4").write_bytes(b"a")
    Path("own/notes.txt").write_bytes(b"x")
    Feedback(Path("feedback"), "video", ["Grow"]).add({"label": "Grow", "clip": b"\0\0\0\x20ftypisom"})
    params = params_of("video", "feedback/video", kind="folder", url=str(Path("own").absolute()))
    refresh("video", params)
    assert len(downloaded("video", params, tmp_path / "raw")) == 1
    assert list(json.loads((tmp_path / "raw/left_out.json").read_text())) == ["notes.txt"]


def test_a_pin_from_before_there_were_such_keys_holds() -> None:
    source = params_of("translation", kind="tsv", url="https://host/pairs.tsv", pairs=50_000).source
    # The sha256 of the block as JSON with sorted keys, without `also` and `also_test`
    assert pins.digest(source) == pins.digest(source.model_copy(update={"also_test": True}))
    assert pins.digest(source) == "a2024592197b6947c99f2a0781b7e5deae0af9caa72d3e72a4d82312b43abd35"
    assert pins.digest(source) != pins.digest(source.model_copy(update={"also": ["x.tsv"]}))


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        ("sketch", {"source": {"also": ["a", "a"]}}, "sketch.source: allowed: each address in also once"),
        ("sketch", {"source": {"also": "a"}}, "sketch.source.also: found 'a'; allowed: a list"),
        ("sketch", {"source": {"also": ["https://u:p@host/x"]}}, "sketch.source.also: holds a password or a signature"),
        (
            "translation",
            {"source": {"kind": "multi30k", "also_test": True}},
            "translation.source: allowed: also_test false where kind is multi30k",
        ),
        (
            "sketch",
            {"source": {"kind": "quickdraw", "categories": {"cat": "raw", "dog": "sketchrnn"}, "also_test": True}},
            "sketch.source: allowed: also_test false where a category is sketchrnn",
        ),
        (
            "video",
            {"source": {"kind": "ucf101", "also_test": True}, "prepare": {"split": "ucf101_1"}},
            "video: allowed: source.also_test false where prepare.split is ucf101_1",
        ),
    ],
)
def test_a_mistake_in_the_params_is_named(tmp_path: Path, task: str, changes: dict[str, Any], message: str) -> None:
    raw = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
    for block, values in changes.items():
        raw[task][block] |= values
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    with pytest.raises(ParamsError) as error:
        load(tmp_path / "params.yaml")
    assert message in str(error.value)
    assert "u:p" not in str(error.value)


def test_a_card_shows_no_address_of_a_list() -> None:
    assert card._param(["s3://bucket/secret", "feedback/sketch"]) == "(bucket), feedback/sketch"
    assert card._param(["a", "b"]) == "['a', 'b']"


@pytest.mark.parametrize("task", TASKS)
def test_a_sample_with_corrections_becomes_prepared_data(task: str, tmp_path: Path) -> None:
    raw, made = tmp_path / "raw", tmp_path / "made"
    if task == "sketch":
        kept = Feedback(Path("feedback"), task, ["clock"], now=lambda: datetime(2026, 12, 2, tzinfo=UTC))
        kept.add(drawing("clock", 1))
    elif task == "video":
        kept = Feedback(Path("feedback"), task, ["Grow"])
        kept.add({"label": "Grow", "clip": write_clip(tmp_path / "sent.mp4", 50)})
    else:
        translations(("a new date", "2030-01-01"))
    params = params_of(task, f"feedback/{task}")
    refresh(task, params)
    assert len(downloaded(task, params, raw)) == 1
    with Preparation(made, max_rejected_share=0.0) as output:
        Task(task).prepare().prepare(raw, params.prepare, output)
    plain = tmp_path / "plain"
    plain.mkdir()
    Task(task).source().download(params_of(task).source, plain, PRESENT)
    with Preparation(tmp_path / "plain_made", max_rejected_share=0.0) as alone:
        Task(task).prepare().prepare(plain, params.prepare, alone)
    assert output.accepted == alone.accepted + 1
