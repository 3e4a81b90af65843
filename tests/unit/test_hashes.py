import json
from pathlib import Path

import pytest

from stages.provenance import hashes


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    (tmp_path / "data" / "sub").mkdir(parents=True)
    (tmp_path / "data" / "b.txt").write_text("b")
    (tmp_path / "data" / "sub" / "a.txt").write_text("a")
    return tmp_path


def test_a_folders_md5_is_the_one_dvc_gives_it(folder):
    from dvc_data.hashfile.build import build
    from dvc_data.hashfile.db import HashFileDB
    from dvc_objects.fs import localfs

    store = HashFileDB(localfs, str(folder / "odb"))
    _, _, made = build(store, str(folder / "data"), localfs, "md5", dry_run=True)
    assert hashes.content_md5(Path("data")) == made.hash_info.value


def test_under_dvc_the_lock_is_believed_and_elsewhere_it_is_not(folder, monkeypatch):
    lock = {"schema": "2.0", "stages": {"x": {"outs": [{"path": "data", "md5": "0" * 32 + ".dir"}]}}}
    (folder / "dvc.lock").write_text(json.dumps(lock))
    computed = hashes.content_md5(Path("data"))
    assert computed != "0" * 32 + ".dir"
    monkeypatch.setenv("DVC_STAGE", "y")
    assert hashes.content_md5(Path("data")) == "0" * 32 + ".dir"


def test_a_missing_path_is_named(folder):
    with pytest.raises(ValueError, match="nothing: no such file or folder"):
        hashes.content_md5(Path("nothing"))


def test_a_metrics_signature_says_how_it_was_computed():
    text = hashes.metrics_signature(data="abc.dir", split="test", n=12, seed=3)
    assert text.startswith("data:abc.dir|split:test|n:12|seed:3|torch:")
    assert "+" not in text
