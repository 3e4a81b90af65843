"""What not everybody should read is made for its owner alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.server.servers import Servers
from stages.tracking import spool, store
from stages.tracking.private import private_file, private_folder


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    """As most machines have it: what is made without a word can be read by all."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> str:
    return oct(stat.S_IMODE(path.stat().st_mode))


def test_files_and_folders_are_made_for_their_owner_and_keep_the_mode_that_somebody_gave_them(tmp_path: Path) -> None:
    folder, file = tmp_path / "a" / "b", tmp_path / "file"
    for _ in range(2):
        private_folder(folder)
        private_file(file)
    assert (mode(folder), mode(file)) == ("0o700", "0o600")
    folder.chmod(0o750)
    file.chmod(0o640)
    file.write_text("kept")
    private_folder(folder)
    private_file(file)
    assert (mode(folder), mode(file), file.read_text()) == ("0o750", "0o640", "kept")


def test_the_store_is_made_for_its_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stages.tracking.mlflow_runs import open_client

    database = tmp_path / "mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    assert store.store_uri() == f"sqlite:///{database}"
    open_client()
    assert mode(database) == "0o600"
    assert database.stat().st_size > 0
    store.make_private("https://mlflow.example.org")


def test_spools_are_made_for_their_owner(tmp_path: Path) -> None:
    start: Any = dict.fromkeys(spool.Start.__dataclass_fields__, "x")
    started = spool.Spool(spool.Start(**start), tmp_path / "mlflow")
    started.close()
    assert mode(tmp_path / "mlflow") == "0o700"


def test_the_servers_folder_is_made_for_its_owner(tmp_path: Path) -> None:
    Servers(tmp_path, prefect_port=4200, mlflow_port=5000).down()
    assert mode(tmp_path / ".prefect") == "0o700"
