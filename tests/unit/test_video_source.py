"""Clips come from folders, archives and servers alike, and nothing but clips of the classes asked for."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from urllib.parse import quote

import pytest

from stages.archives import ArchiveError
from stages.fetch import DownloadError
from stages.fetch.tree import files_below
from stages.tasks.video.params import SourceParams
from stages.tasks.video.source.download import download
from tests.unit.http_server import serving

FILES = {
    "Boxing/v_Boxing_g01_c01.avi": b"one",
    "Boxing/v_Boxing_g02_c01.avi": b"two",
    "Tai Chi/v_TaiChi_g01_c01.avi": b"three",
}
LIST_NAMES = ["classInd", *(f"{split}list0{number}" for split in ("test", "train") for number in (1, 2, 3))]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where the partials of downloads go


def _lists() -> dict[str, bytes]:
    lists = {f"{name}.txt": b"1 Boxing\r\n" for name in LIST_NAMES}
    for number in (1, 2, 3):
        lists[f"trainlist0{number}.txt"] = b"Boxing/v_Boxing_g01_c01.avi 1\r\n"
        lists[f"testlist0{number}.txt"] = b"Boxing/v_Boxing_g02_c01.avi\r\n"
    return lists


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        path = tmp_path / "mirror/UCF-101" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "mirror/UCF-101/Boxing/.DS_Store").write_bytes(b"junk")
    (tmp_path / "mirror/UCF-101/notes.txt").write_bytes(b"lies in no class")
    (tmp_path / "mirror/ucfTrainTestlist").mkdir()
    for name, content in _lists().items():
        (tmp_path / "mirror/ucfTrainTestlist" / name).write_bytes(content)
    return tmp_path / "mirror"


def _params(kind: str, url: str, *classes: str) -> SourceParams:
    block = {"kind": kind, "url": url, "classes": list(classes), "clips_per_class": 10, "seed": 1}
    return SourceParams.model_validate({**block, "max_gigabytes": 0.001, "also": [], "also_test": False})


def _clips(folder: Path) -> dict[str, bytes]:
    root = folder / "clips"
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def _left_out(folder: Path) -> dict[str, str]:
    return json.loads((folder / "left_out.json").read_text(encoding="utf-8"))


def test_a_mirror_on_disk_gives_clips_and_lists(mirror: Path, tmp_path: Path) -> None:
    download(_params("ucf101", f"file://{mirror}"), tmp_path / "raw")
    assert _clips(tmp_path / "raw") == FILES
    assert sorted(p.name for p in (tmp_path / "raw/ucfTrainTestlist").iterdir()) == sorted(_lists())
    record = json.loads((tmp_path / "raw/downloads.json").read_text())
    assert len(record) == 3 + 7
    assert list(_left_out(tmp_path / "raw")) == ["notes.txt"]


def test_only_the_classes_asked_for_are_fetched(mirror: Path, tmp_path: Path) -> None:
    download(_params("folder", f"file://{mirror}/UCF-101", "Tai Chi"), tmp_path / "raw")
    assert list(_clips(tmp_path / "raw")) == ["Tai Chi/v_TaiChi_g01_c01.avi"]
    with pytest.raises(ValueError, match="no clips of Knitting; found: Boxing"):
        download(_params("folder", f"file://{mirror}/UCF-101", "Boxing", "Knitting"), tmp_path / "other")
    with pytest.raises(ValueError, match="no clips of Knitting; found: Boxing, Tai Chi"):
        download(_params("folder", f"file://{mirror}/UCF-101", "Knitting"), tmp_path / "third")


def test_a_server_with_index_pages_is_read_like_a_folder(mirror: Path, tmp_path: Path) -> None:
    with serving() as server:
        for name, content in FILES.items():
            server.put(f"/set/UCF-101/{name}", content)
        for name, content in _lists().items():
            server.put(f"/set/ucfTrainTestlist/{name}", content)
        server.put("/set/UCF-101/", _index("../", "Boxing/", "Tai%20Chi/", "notes.txt", "/elsewhere/Punch/"))
        server.put("/set/UCF-101/Boxing/", _index("../", "v_Boxing_g01_c01.avi", "v_Boxing_g02_c01.avi", "?C=N;O=D"))
        server.put("/set/UCF-101/Tai Chi/", _index("v_TaiChi_g01_c01.avi"))
        download(_params("ucf101", f"{server.url}/set"), tmp_path / "raw")
    assert _clips(tmp_path / "raw") == FILES


def _index(*links: str) -> bytes:
    page = "".join(f'<li><a href="{link}">{link}</a></li>' for link in links)
    return f"<html><body><ul>{page}</ul></body></html>".encode()


def test_where_a_server_lists_nothing_the_split_lists_name_the_clips(tmp_path: Path) -> None:
    with serving() as server:
        for name, content in FILES.items():
            server.put(f"/UCF-101/{name}", content)
        for name, content in _lists().items():
            server.put(f"/ucfTrainTestlist/{name}", content)
        download(_params("ucf101", server.url, "Boxing"), tmp_path / "raw")
        del server.files["/UCF-101/Boxing/v_Boxing_g02_c01.avi"]
        with pytest.raises(DownloadError, match="v_Boxing_g02_c01.avi"):
            download(_params("ucf101", server.url, "Boxing"), tmp_path / "other")
    assert list(_clips(tmp_path / "raw")) == ["Boxing/v_Boxing_g01_c01.avi", "Boxing/v_Boxing_g02_c01.avi"]


ODD = ["run/p1/a?b.mp4", "run/p1/scene 2/50% #1 é {x}.mp4", "sit/名.mp4", "sit/p1/%20.mp4", "sit/a&b=c;d.mp4"]


def test_clips_at_any_depth_and_of_any_name_are_taken_and_the_others_said(tmp_path: Path) -> None:
    folder = tmp_path / "actors"
    for name in ODD:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/c.mp4").write_bytes(b"linked")
    (folder / "sit/linked.mp4").symlink_to(tmp_path / "elsewhere/c.mp4")
    (folder / "jump").symlink_to(tmp_path / "elsewhere")
    (folder / "sit/dead.mp4").symlink_to("nowhere")
    (folder / "sit/a\\b.mp4").write_bytes(b"no name on every disk")
    (folder / "labels.csv").write_bytes(b"beside the classes")
    Path(str(folder / "sit/").encode().decode() + "/\udcff.mp4").write_bytes(b"no UTF-8")
    download(_params("folder", f"file://{folder}"), tmp_path / "raw")
    linked = {"jump/c.mp4": b"linked", "sit/linked.mp4": b"linked"}
    assert _clips(tmp_path / "raw") == {**{name: name.encode() for name in ODD}, **linked}
    assert {name: reason[:12] for name, reason in _left_out(tmp_path / "raw").items()} == {
        "labels.csv": "lies in no f",
        "sit/dead.mp4": "a link to no",
        "sit/a\\b.mp4": "a name with ",
        "sit/\\udcff.mp4": "a name with ",
    }


def test_a_server_gives_names_that_its_index_encodes(tmp_path: Path) -> None:
    pages: dict[str, set[str]] = {}
    with serving() as server:
        for name in ODD:
            server.put(f"/set/{name}", name.encode())
            parts = name.split("/")
            for depth, part in enumerate(parts):
                link = quote(part) + ("/" if depth < len(parts) - 1 else "")
                pages.setdefault("/".join(["/set", *parts[:depth]]), set()).add(link)
        pages["/set/run"] |= {"sub%2Fescape.mp4", "plain.mp4?version=2", "?C=N;O=D"}
        for page, links in pages.items():
            server.put(f"{page}/", _index(*sorted(links)))
        download(_params("folder", f"{server.url}/set"), tmp_path / "raw")
    assert _clips(tmp_path / "raw") == {name: name.encode() for name in ODD}
    assert list(_left_out(tmp_path / "raw")) == ["run/plain.mp4?version=2", "run/sub/escape.mp4"]


def test_a_folder_without_classes_says_what_was_seen_and_splits_are_no_classes(tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat/a.mp4").write_bytes(b"one")
    with pytest.raises(ValueError, match="found: none; 1 files lie in no folder, such as a.mp4"):
        download(_params("folder", f"file://{tmp_path}/flat"), tmp_path / "raw")
    for name in ("train/run/a.mp4", "test/run/b.mp4"):
        (tmp_path / "split" / name).parent.mkdir(parents=True)
        (tmp_path / "split" / name).write_bytes(b"one")
    with pytest.raises(ValueError, match="file://.*split: found the folders test, train"):
        download(_params("folder", f"file://{tmp_path}/split"), tmp_path / "other")


def test_a_folder_that_leads_back_to_itself_has_an_end(mirror: Path) -> None:
    (mirror / "UCF-101/Boxing/again").symlink_to(mirror / "UCF-101")
    with pytest.raises(ValueError, match="nested too deeply|more than 1,000 clips"):
        files_below(f"file://{mirror}/UCF-101", [], max_files=1000)


def test_of_an_archive_only_the_classes_asked_for_stay(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "actors.zip", "w") as archive:
        for name in ("all/run/p1/a.mp4", "all/run/b.mp4", "all/sit/run/c.mp4", "all/notes.txt"):
            archive.writestr(name, name)
    download(_params("folder", f"file://{tmp_path}/actors.zip", "run"), tmp_path / "raw")
    assert list(_clips(tmp_path / "raw")) == ["all/run/b.mp4", "all/run/p1/a.mp4"]


def test_archives_hold_the_same_as_folders(tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    with zipfile.ZipFile(tmp_path / "host/UCF101.zip", "w") as archive:
        for name, content in FILES.items():
            archive.writestr(f"UCF-101/{name}", content)
        archive.writestr("__MACOSX/UCF-101/Boxing/._v_Boxing_g01_c01.avi", b"junk")
    with zipfile.ZipFile(tmp_path / "host/UCF101TrainTestSplits-RecognitionTask.zip", "w") as archive:
        for name, content in _lists().items():
            archive.writestr(f"ucfTrainTestlist/{name}", content)
    download(_params("ucf101", f"file://{tmp_path}/host/UCF101.zip", "Boxing"), tmp_path / "raw")
    assert list(_clips(tmp_path / "raw")) == [f"UCF-101/Boxing/v_Boxing_g0{n}_c01.avi" for n in (1, 2)]
    assert len(list((tmp_path / "raw/ucfTrainTestlist").iterdir())) == 7
    assert not list((tmp_path / "raw").glob("*.zip"))


def test_an_archive_that_nothing_here_unpacks_is_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        serving() as server,
        pytest.raises(ArchiveError, match=r"UCF101\.rar: unpacking a rar needs one of these programs"),
    ):
        download(_params("ucf101", f"{server.url}/UCF101.rar"), tmp_path / "raw")
    assert not server.requests


def test_an_archive_larger_than_allowed_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "clips.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Boxing/large.avi", bytes(1_000_001))  # source.max_gigabytes is 0.001
    with pytest.raises(ValueError, match="1,000,000 bytes allowed"):
        download(_params("folder", f"file://{tmp_path}/clips.zip"), tmp_path / "raw")


def test_more_files_than_allowed_are_refused(mirror: Path) -> None:
    with pytest.raises(ValueError, match="too many files; allowed: at most 2"):
        files_below(f"file://{mirror}/UCF-101", [], max_files=2)


def test_a_folder_without_an_address_is_refused() -> None:
    with pytest.raises(ValueError, match="an address in url where kind is folder"):
        _params("folder", "")
