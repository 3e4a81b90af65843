"""A folder that takes the place of another: whole, or not at all, however many write it and whoever is killed."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from stages.data import files
from stages.data.files import fresh_folder, write_text

REPOSITORY = Path(__file__).resolve().parents[2]
WRITER = """
import sys
from pathlib import Path
from stages.data.files import fresh_folder

for number in range(40):
    with fresh_folder(Path(sys.argv[1])) as folder:
        for name in "abcd":
            (folder / name).write_text(f"{sys.argv[2]} {number}")
"""
TEXT_WRITER = """
import sys
from pathlib import Path
from stages.data.files import write_text

for number in range(200):
    write_text(Path(sys.argv[1]), f"{sys.argv[2]} {number}" * 50_000)
"""
KILLED = """
import os, signal, sys
from pathlib import Path
from stages.data.files import fresh_folder

where, final = sys.argv[1], Path(sys.argv[2])
rename = Path.rename

def rename_and_die(path, target):
    made = rename(path, target)
    if path == final:
        os.kill(os.getpid(), signal.SIGKILL)
    return made

Path.rename = rename_and_die
with fresh_folder(final) as folder:
    (folder / "new").touch()
    if where == "block":
        os.kill(os.getpid(), signal.SIGKILL)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_gets_its_name_when_all_is_written(tmp_path: Path) -> None:
    final = tmp_path / "out"
    final.mkdir()
    (final / "old").touch()
    with fresh_folder(final) as folder:
        (folder / "new").touch()
        assert [p.name for p in final.iterdir()] == ["old"]
    assert [p.name for p in final.iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_an_error_leaves_nothing_half_written(tmp_path: Path) -> None:
    def fail() -> None:
        with fresh_folder(tmp_path / "out") as folder:
            (folder / "new").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_writers_in_several_processes_come_one_after_the_other_and_leave_a_whole_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "parent" / "out")]
    writers = [
        subprocess.Popen([*command, name], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
        for name in ("one", "two", "three")
    ]
    assert [(writer.communicate()[1], writer.returncode) for writer in writers] == [("", 0)] * 3
    assert names(tmp_path / "parent") == ["out"]
    assert names(tmp_path / "parent" / "out") == ["a", "b", "c", "d"]
    assert len({path.read_text() for path in (tmp_path / "parent" / "out").iterdir()}) == 1


def test_a_text_that_several_processes_write_is_always_a_whole_one(tmp_path: Path) -> None:
    final = tmp_path / "text"
    final.with_name(".text.partial").write_text("left by a killed process " * 100_000)
    write_text(final, "first")
    command = [sys.executable, "-c", TEXT_WRITER, str(final)]
    writers = [
        subprocess.Popen([*command, name], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) for name in ("one", "two")
    ]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        text = final.read_text()
        seen.add(text)
        assert text == "first" or text == text[: len(text) // 50_000] * 50_000
    assert [(writer.communicate()[1], writer.returncode) for writer in writers] == [("", 0)] * 2
    assert len(seen) > 2
    assert names(tmp_path) == ["text"]


def test_who_waits_says_so_once_and_only_for_the_folder_that_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(files, "_PATIENCE", 0.05)
    order: list[str] = []

    def second() -> None:
        with fresh_folder(tmp_path / "out") as folder:
            order.append("second")
            (folder / "second").touch()

    with fresh_folder(tmp_path / "out") as folder:
        thread = threading.Thread(target=second)
        thread.start()
        with fresh_folder(tmp_path / "other"):  # of another stage, in the same parent
            order.append("other")
        thread.join(timeout=0.5)
        assert thread.is_alive()
        order.append("first")
        (folder / "first").touch()
    thread.join()
    assert order == ["other", "first", "second"]
    assert names(tmp_path) == ["other", "out"]
    assert names(tmp_path / "out") == ["second"]
    assert capsys.readouterr().err == f"unroll: waiting for another run that is writing {tmp_path}/out\n"


def test_the_old_folder_goes_after_the_new_one_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    final, removed = tmp_path / "out", list[str]()
    remove = shutil.rmtree

    def noted(path: Path, **options: Any) -> None:
        removed.extend(names(path))
        assert names(final) == ["new"]
        remove(path, **options)

    final.mkdir()
    (final / "old").touch()
    monkeypatch.setattr(shutil, "rmtree", noted)
    with fresh_folder(final) as folder:
        (folder / "new").touch()
    assert removed == ["old"]


def test_an_error_while_the_folders_change_places_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final = tmp_path / "out"
    final.mkdir()
    (final / "old").touch()
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if path.name == "new":
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="Input/output error"), fresh_folder(final):
        pass
    assert names(tmp_path) == ["out"]
    assert names(final) == ["old"]


@pytest.mark.parametrize("where", ["block", "between the renames"])
def test_what_a_killed_process_leaves_is_cleared_away_by_the_next(tmp_path: Path, where: str) -> None:
    final = tmp_path / "out"
    final.mkdir()
    (final / "old").touch()
    command = [sys.executable, "-c", KILLED, where, str(final)]
    assert subprocess.run(command, cwd=REPOSITORY, check=False).returncode == -signal.SIGKILL
    assert final.exists() == (where == "block")
    (tmp_path / ".out.partial" / "of older code").touch()
    with suppress(KeyboardInterrupt), fresh_folder(final) as folder:
        assert names(folder) == []
        assert names(final) == ["old"]
        raise KeyboardInterrupt
    assert names(tmp_path) == ["out"]
    assert names(final) == ["old"]


@pytest.mark.parametrize("place", [".{}.partial", "{}"], ids=["of the work", "of the folder"])
def test_a_link_and_a_file_in_the_place_are_replaced_and_what_a_link_leads_to_stays(tmp_path: Path, place: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").touch()
    (tmp_path / place.format("link")).symlink_to("elsewhere")
    (tmp_path / place.format("file")).touch()
    for name in ("link", "file"):
        with fresh_folder(tmp_path / name) as folder:
            (folder / "new").touch()
        assert names(tmp_path / name) == ["new"]
    assert names(tmp_path) == ["elsewhere", "file", "link"]
    assert names(tmp_path / "elsewhere") == ["kept"]
