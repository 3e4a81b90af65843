"""`benchmarks.peers` compares rates turn by turn, and says so where a peer is missing."""

from __future__ import annotations

import pytest

from benchmarks import command, peer_files, peer_sides, peers
from stages.tasks.video.data.decode import evenly_spaced


def test_a_pairs_row_has_rates_of_the_processor_and_ratios_of_each_turn() -> None:
    ours = [{"seconds": s, "processor_seconds": p} for s, p in ((2.0, 1.0), (8.0, 2.0), (2.0, 4.0))]
    theirs = [{"seconds": s, "processor_seconds": p} for s, p in ((6.0, 2.0), (4.0, 6.0), (8.0, 4.0))]
    row = peer_sides.row("clips read", "clips/s", ours, theirs, "Peer 1.0", lambda _: 12)
    assert (row["ours"], row["theirs"]) == (6.0, 3.0)
    assert row["times, by the clock"] == 3.0  # of 3, 0.5 and 4
    assert row["times, by processor time"] == 2.0  # of 2, 3 and 1


def test_a_missing_peer_stands_in_the_table(monkeypatch, tmp_path) -> None:
    def no_uv(name: str, work: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", "uv")

    monkeypatch.setattr(peer_sides, "python_of", no_uv)
    with pytest.raises(peer_sides.Missing, match="no environment could be made.*uv") as raised:
        peer_sides.Side(module="peer_files", arguments=["polars", "x"], environment="polars").start(
            "polars", tmp_path, 1
        )
    row = peer_sides.missing_row("drawings", "drawings/s", "polars", str(raised.value))
    assert "| drawings | drawings/s | polars | not run: no environment" in command.table([row])


def test_frames_differ_by_the_mean_of_their_pixels_and_must_be_as_many() -> None:
    assert peers.pixel_difference({"a/1": [10, 20], "b/1": [30]}, {"a/1": [13, 20], "b/1": [24]}) == 3.0
    with pytest.raises(ValueError, match="not as many frames"):
        peers.pixel_difference({"a/1": [10, 20]}, {"a/1": [10]})


def test_peers_take_the_frames_that_we_take() -> None:
    for count in (1, 7, 24, 25, 113, 1000):
        assert peer_files.evenly_spaced(count, 24) == evenly_spaced(count, 24).tolist()


def test_a_bundled_library_is_linked_under_the_name_that_programs_ask_for() -> None:
    assert peer_sides.usual_name("libavutil-5809ad29.so.60.26.102") == "libavutil.so.60"
