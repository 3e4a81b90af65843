"""No unit test leaves anything in the checkout; those of downloads have a host and a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.downloads import Folder
    from tests.unit.http_server import Host


@pytest.fixture(autouse=True, scope="session")
def resume_of_wider_fixtures_in_a_temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNROLL_RESUME", str(tmp_path_factory.mktemp("resume")))
        yield


@pytest.fixture(autouse=True)
def resume_in_a_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNROLL_RESUME", str(tmp_path / "resume"))


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    from tests.unit.http_server import serving

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as host:
        yield host


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    from tests.unit.downloads import Folder

    return Folder(tmp_path)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For small networks, which are slower on several threads, and far slower on a busy machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
