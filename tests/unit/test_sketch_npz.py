"""sketch-rnn's archives are read, and run nothing."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.tasks.sketch.data.npz import UnreadableFile, read_npz

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "quickdraw"


def objects(*arrays: np.ndarray) -> np.ndarray:
    outer = np.empty(len(arrays), dtype=object)
    outer[:] = arrays
    return outer


def archive(path: Path, payload: bytes, shape: str = "(1,)", descr: str = "|O") -> Path:
    """An npz whose only member has a header and then any bytes."""
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("train.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + payload)
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<f4", "|u1", "<f8"])
def test_arrays_come_back_as_numpy_wrote_them(tmp_path: Path, protocol: int, dtype: str) -> None:
    arrays = objects(
        np.arange(6).reshape(2, 3).astype(dtype), np.asfortranarray(np.arange(12).reshape(4, 3).astype(dtype))
    )
    path = archive(tmp_path / "a.npz", pickle.dumps(arrays, protocol=protocol), shape="(2,)")
    found = read_npz(path, ("train",))["train"]
    assert [a.dtype.str for a in found] == [dtype, dtype]
    assert [a.tolist() for a in found] == [a.tolist() for a in arrays]


def test_what_numpy_saves_is_read(tmp_path: Path) -> None:
    several = objects(np.ones((2, 3), np.int16), np.zeros((5, 3), np.int16))
    np.savez_compressed(tmp_path / "a.npz", train=several, valid=np.arange(12.0).reshape(2, 2, 3), test=several[:1])
    found = read_npz(tmp_path / "a.npz", ("train", "valid", "test"))
    assert [len(arrays) for arrays in found.values()] == [2, 2, 1]
    assert found["valid"][1].tolist() == [[6, 7, 8], [9, 10, 11]]


class Foreign:
    """Unpickling this makes a folder, if it is let to."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_foreign_pickle_is_refused_and_does_not_run(tmp_path: Path, protocol: int) -> None:
    made = tmp_path / "made"
    outer = np.empty(1, dtype=object)
    outer[0] = Foreign(str(made))
    path = archive(tmp_path / "a.npz", pickle.dumps(outer, protocol=protocol))
    with pytest.raises(UnreadableFile, match="a.npz: train: "):
        read_npz(path, ("train",))
    assert not made.exists()
    np.load(path, allow_pickle=True)["train"]
    assert made.exists(), "the pickle would have run"


# Hand-written pickles: each asks a trusted name for something else than an array.
RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
DTYPE = b"cnumpy\ndtype\n(X\x02\x00\x00\x00i2tR"


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "not a pickle"),
        (b"\x80\x04N.", "found NoneType"),
        (b"\x80\x02cnumpy\nndarray\n(J\xff\xff\xff\x7ftR.", "not a pickle of NumPy arrays"),  # numpy.ndarray((2**31,))
        (b"\x80\x02cnumpy\nload\n.", "loads numpy.load"),
        (b"\x80\x02cbuiltins\neval\n(X\x01\x00\x00\x001tR.", "loads builtins.eval"),
        (b"\x80\x02" + RECONSTRUCT + RECONSTRUCT + b"(K\x00tX\x01\x00\x00\x00bt\x85R.", "not a pickle of NumPy arrays"),
        (b"\x80\x02" + RECONSTRUCT + b"}X\x08\x00\x00\x00__name__K\x01sb.", "not a pickle of NumPy arrays"),
        (b"\x80\x02" + RECONSTRUCT + b"Nb.", "a state for a function"),
        (b"\x80\x02r\xff\xff\xff\xff.", "not a pickle of NumPy arrays"),  # a memo of four milliards of places
        (b"\x80\x04" + b"N" * 100_000, "more operations"),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", "not a pickle of NumPy arrays"),  # bytes of 2**63
        (b"\x80\x04" + b"(" * 3000 + b"t" * 3000 + b".", "more operations"),
    ],
)
def test_a_pickle_that_is_not_of_arrays_is_refused(tmp_path: Path, payload: bytes, reason: str) -> None:
    with pytest.raises(UnreadableFile, match=reason):
        read_npz(archive(tmp_path / "a.npz", payload), ("train",))


@pytest.mark.parametrize(
    ("shape", "data", "descr"),
    [
        ("(100000000000,)", b"", "|O"),
        ("(2, 1000000000, 3)", bytes(12), "<i2"),
        ("(1, 2, 3)", bytes(11), "<i2"),
        ("(1,)", bytes(8), "<M8[s]"),
        ("()", bytes(2), "<i2"),
    ],
)
def test_a_header_that_does_not_fit_its_data_is_refused(tmp_path: Path, shape: str, data: bytes, descr: str) -> None:
    with pytest.raises(UnreadableFile):
        read_npz(archive(tmp_path / "a.npz", data, shape=shape, descr=descr), ("train",))


def test_an_array_whose_state_does_not_fit_its_data_is_refused(tmp_path: Path) -> None:
    good = pickle.dumps(objects(np.ones((2, 3), np.int16)), protocol=2)
    longer = good.replace(b"K\x02K\x03\x86", b"K\x63K\x03\x86")  # shape (99, 3) for the bytes of (2, 3)
    assert longer != good
    with pytest.raises(UnreadableFile, match="12 bytes for an array of shape"):
        read_npz(archive(tmp_path / "a.npz", longer), ("train",))


def test_a_file_that_is_no_archive_or_lacks_a_split_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(UnreadableFile, match="not a readable .npz"):
        read_npz(tmp_path / "a.npz", ("train",))
    np.savez(tmp_path / "b.npz", train=np.zeros((1, 2, 3)))
    with pytest.raises(UnreadableFile, match="no valid, test inside; found: train.npy"):
        read_npz(tmp_path / "b.npz", ("train", "valid", "test"))


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.tasks.sketch.data.npz.MAX_MEMBER_BYTES", 10_000)
    with pytest.raises(UnreadableFile, match="larger than 10000 bytes"):
        read_npz(archive(tmp_path / "a.npz", bytes(1_000_000)), ("train",))


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data is not here")
@pytest.mark.parametrize("name", ["sketchrnn/radio.npz", "other-npz/omniglot.npz"])
def test_the_hosts_files_are_read_as_numpy_reads_them(name: str) -> None:
    """The second one was written by Python 2, as the host's are."""
    ours = read_npz(SHARED / name, ("valid", "test"))
    with np.load(io.BytesIO((SHARED / name).read_bytes()), allow_pickle=True, encoding="latin1") as theirs:
        for split, arrays in ours.items():
            assert len(arrays) == len(theirs[split])
            assert all(np.array_equal(a, b) for a, b in zip(arrays, theirs[split], strict=True))


def damaged_directory(path: Path) -> None:
    """The first member's place in the file, as the directory has it, beyond its end."""
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02") + 42
    content[at : at + 4] = b"\xf0\xff\xff\xff"
    path.write_bytes(content)


@pytest.mark.parametrize("descr", ["((((", "|O', 'x': [[[[", "\x00", "<i2', 'shape': (1, 2"])
def test_a_damaged_header_is_told_with_the_files_name(tmp_path: Path, descr: str) -> None:
    with pytest.raises(UnreadableFile, match=r"^a\.npz: train: "):
        read_npz(archive(tmp_path / "a.npz", bytes(12), descr=descr), ("train",))


def test_a_damaged_directory_and_foreign_packings_are_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", train=np.zeros((1, 2, 3)))
    damaged_directory(tmp_path / "a.npz")
    with pytest.raises(UnreadableFile, match=r"^a\.npz: train: not a readable .npz archive: "):
        read_npz(tmp_path / "a.npz", ("train",))
    with zipfile.ZipFile(tmp_path / "b.npz", "w", zipfile.ZIP_LZMA) as file:
        file.writestr("train.npy", bytes(5000))
    content = bytearray((tmp_path / "b.npz").read_bytes())
    content[50:60] = b"\xff" * 10
    (tmp_path / "b.npz").write_bytes(content)
    with pytest.raises(UnreadableFile, match=r"^b\.npz: train: not a readable .npz archive: "):
        read_npz(tmp_path / "b.npz", ("train",))
    np.save(tmp_path / "c.npy", np.zeros((1, 2, 3)))
    (tmp_path / "c.npy").rename(tmp_path / "c.npz")
    with pytest.raises(UnreadableFile, match=r"^c\.npz: found an .npy file; allowed: an .npz with train, valid, test"):
        read_npz(tmp_path / "c.npz", ("train", "valid", "test"))


def test_an_array_counts_as_often_as_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    once = np.zeros((1000, 3), np.int16)
    path = archive(tmp_path / "a.npz", pickle.dumps(objects(*[once] * 100)), shape="(100,)")
    assert len(read_npz(path, ("train",))["train"]) == 100
    monkeypatch.setattr("stages.tasks.sketch.data.npz.MAX_MEMBER_BYTES", 599_999)
    with pytest.raises(UnreadableFile, match=r"arrays of 600,000 bytes in total; allowed: 599,999"):
        read_npz(path, ("train",))


def test_bytes_that_are_encoded_again_and_again_are_bounded(tmp_path: Path) -> None:
    text = b"X" + struct.pack("<I", 1000) + b"a" * 1000  # a text, kept as 0
    again = b"c_codecs\nencode\n(h\x00X\x06\x00\x00\x00latin1tR"
    with pytest.raises(UnreadableFile, match="encodes more bytes than it contains"):
        read_npz(archive(tmp_path / "a.npz", b"\x80\x02" + text + b"q\x00" + again * 50 + b"."), ("train",))


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_drawings_of_one_length_that_became_a_block_of_objects_are_read(tmp_path: Path, dtype: Any) -> None:
    drawings = [np.full((4, 3), number).astype(dtype) for number in range(5)]
    np.savez(tmp_path / "a.npz", train=np.array(drawings, dtype=object))
    found = read_npz(tmp_path / "a.npz", ("train",))["train"]
    assert [drawing.tolist() for drawing in found] == [drawing.tolist() for drawing in drawings]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([[[1, 2, 3]]] * 2, "found list instead of drawings; save each drawing as an array"),
        (
            [[[number, 2, 3] for number in range(2000)], []],
            "more operations than arrays need, perhaps because it holds lists; save each drawing as",
        ),
        ([0, None], "found NoneType and int instead of drawings"),
    ],
)
def test_lists_in_place_of_arrays_are_refused_with_the_way_out(tmp_path: Path, values: list[Any], reason: str) -> None:
    outer = np.empty(2, dtype=object)
    outer[:] = values
    np.savez(tmp_path / "a.npz", train=outer)
    with pytest.raises(UnreadableFile, match=reason):
        read_npz(tmp_path / "a.npz", ("train",))


def test_a_block_of_other_objects_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", train=np.array([["a", "b"]], dtype=object), valid=np.array([[2**70, 1]], dtype=object))
    with pytest.raises(UnreadableFile, match=r"a block \(1, 2\) of objects that are not numbers; save each drawing"):
        read_npz(tmp_path / "a.npz", ("train",))
    with pytest.raises(UnreadableFile, match=r"train|more operations|a pickle|beyond 64 bits"):
        read_npz(tmp_path / "a.npz", ("valid",))
