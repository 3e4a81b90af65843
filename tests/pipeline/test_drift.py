"""Profiles and drift in the real pipeline, on the toy task."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from .conftest import Clone
from .toy import Store, make_toy

pytestmark = [pytest.mark.pipeline, pytest.mark.slow, pytest.mark.in_order]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return make_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def store(toy: Clone, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A registry with one version, the champion."""
    made = Store(toy, tmp_path_factory.mktemp("registry"))
    made.register()
    return made


def drift(store: Store, *arguments: str, status: int = 0) -> str:
    return store.run("-m", "stages.drift", "toy", *arguments, status=status)


def numbers(path: Path, mean: float) -> str:
    generator = np.random.default_rng(3)
    lines = [json.dumps(generator.normal(mean, size=generator.integers(3, 12)).tolist()) for _ in range(300)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def test_a_version_carries_the_profile_that_its_data_had(store, toy):
    version = store.client.get_model_version("toy-classifier", "1")
    where = f"registered/{version.tags['unroll.content'][:12]}"
    assert f"{where}/profile.json" in [file.path for file in store.client.list_artifacts(version.run_id, where)]
    kept = Path(store.client.download_artifacts(version.run_id, f"{where}/profile.json", str(store.folder)))
    assert kept.read_bytes() == (toy.folder / "profiles/toy.json").read_bytes()


def test_what_the_champion_has_learned_is_no_news(store, toy):
    assert "no examples in newly prepared data that" in drift(store)
    written = json.loads((toy.folder / "drift/toy.json").read_text(encoding="utf-8"))
    assert (written["verdict"], written["version"], written["features"]) == ("none", "1", [])


def test_files_are_compared_as_the_champion_reads_them(store, toy, tmp_path):
    assert "toy: none" in drift(store, numbers(tmp_path / "same.ndjson", 0.0))
    printed = json.loads(drift(store, "--json", numbers(tmp_path / "other.ndjson", 1.0), status=3))
    assert (printed["verdict"], printed["features"][0]["name"], printed["examples"]) == ("drift", "sum", 300)
    assert [path.name for path in (toy.folder / "drift/toy").iterdir()] == ["01-sum.png"]


def test_without_a_registry_it_is_one_line(toy, tmp_path):
    printed = Store(toy, tmp_path).run("-m", "stages.drift", "toy", status=1)
    assert printed.startswith("unroll: drift toy: no models are registered: ")
    assert len(printed.strip().splitlines()) == 1


def test_an_edit_of_how_profiles_are_made_trains_nothing(toy):
    more = '{"sum": Numbers(sums), "total": Numbers(sums)}'
    toy.edit("stages/tasks/toy/prepare/profile.py", '{"sum": Numbers(sums)}', more)
    assert toy.repro("register@toy") == ["preprocess@toy", "register@toy"]


def test_newly_prepared_data_are_compared_where_they_were_not_learned(store, toy):
    for before, after in (("range(params.count)", "range(1000, 2000)"), ("normal(size", "normal(0.8, size")):
        toy.edit("stages/tasks/toy/source/download.py", before, after)
    toy.repro("preprocess@toy")
    printed = drift(store, status=3)
    assert "toy: drift in newly prepared data (750 examples) compared with toy-classifier version 1: sum" in printed
