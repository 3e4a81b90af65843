"""The registered model answers for any path or address, and says what is wrong with the others."""

from __future__ import annotations

from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pytest
import torch

from stages.serving import InvalidRows
from stages.tasks.video.model.network import build
from stages.tasks.video.params import ModelParams
from stages.tasks.video.serve.local_copy import local_copy
from stages.tasks.video.serve.predictor import Predictor
from stages.weights import save_network
from tests.unit.http_server import serving
from tests.unit.test_video_model import DATA, MODEL
from tests.unit.video_clips import write_clip


@pytest.fixture
def predictor(tmp_path: Path) -> Predictor:
    return _predictor(tmp_path, "cnn_lstm")


def _predictor(tmp_path: Path, kind: str) -> Predictor:
    torch.manual_seed(0)
    params = ModelParams.model_validate({**MODEL, "kind": kind})
    save_network(tmp_path / "weights", build(params, DATA), params, DATA, prepared=tmp_path, training={})
    return Predictor(tmp_path / "weights")


def test_a_clip_gets_the_same_answer_wherever_it_lies(predictor: Predictor, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a clip.mp4", 60)
    fsspec.filesystem("memory").pipe("/bucket/clip", clip.read_bytes())
    with serving() as server:
        server.put("/clip", clip.read_bytes())
        frame = pd.DataFrame({"path": [str(clip), f"file://{clip}", "memory://bucket/clip", f"{server.url}/clip"]})
        answers = predictor.predict(frame)
    assert list(answers.columns) == ["label", "probability", "top5_labels", "top5_probabilities"]
    assert len(answers) == 4
    assert answers["label"].nunique() == 1
    assert np.ptp(answers["probability"]) < 1e-6
    assert sorted(answers["top5_labels"][0]) == DATA["classes"]
    assert sum(answers["top5_probabilities"][0]) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", ["cnn_lstm", "cnn3d_rnn", "conv_lstm", "cnn3d", "transformer"])
def test_answers_come_in_the_order_of_the_rows_whatever_is_beside_them(kind: str, tmp_path: Path) -> None:
    predictor = _predictor(tmp_path, kind)
    paths = [str(write_clip(tmp_path / f"{n}.mp4", 20 * n, frames=6 + 5 * (n % 3))) for n in range(5)]
    together = predictor.predict(pd.DataFrame({"path": paths}))
    alone = pd.concat([predictor.predict(pd.DataFrame({"path": [path]})) for path in paths])
    assert together["label"].tolist() == alone["label"].tolist()
    assert np.allclose(together["probability"], alone["probability"], atol=1e-5)


def test_bad_rows_are_named_with_their_reason(predictor: Predictor, tmp_path: Path) -> None:
    good = str(write_clip(tmp_path / "good.mp4", 60))
    short = str(write_clip(tmp_path / "short.mp4", 60, frames=2))
    (tmp_path / "text.mp4").write_text("not a film")
    paths = [good, None, float("nan"), "", short, str(tmp_path / "text.mp4"), str(tmp_path / "missing.mp4"), "odd://x"]
    frame = pd.DataFrame({"path": pd.Series(paths, dtype=object)})
    answers = predictor.predict(frame, on_error="report")
    assert answers["label"].notna().tolist() == [True] + [False] * 7
    errors = answers["error"].tolist()
    assert "allowed: a local path or an address" in errors[1]
    assert "2 frames; allowed: 4 or more" in errors[4]
    assert "no video container" in errors[5]
    assert "no such file" in errors[6]
    assert "Protocol not known: odd" in errors[7]
    with pytest.raises(InvalidRows, match="7 of 8 rows cannot be answered"):
        predictor.predict(frame)


def test_what_is_copied_is_bounded_and_gone_afterwards() -> None:
    fsspec.filesystem("memory").pipe("/bucket/large", bytes(3_000_000))
    with (
        pytest.raises(ValueError, match="more than 2,000,000 bytes"),
        local_copy("memory://bucket/large", max_bytes=2_000_000),
    ):
        pass
    with pytest.raises(ValueError, match="too long"), local_copy("memory://bucket/large", max_seconds=-1.0):
        pass
    with local_copy("memory://bucket/large") as copy:
        assert copy.stat().st_size == 3_000_000
    assert not copy.exists()
    with pytest.raises(ValueError, match="no such file"), local_copy("memory://bucket/missing"):
        pass
