"""sketch-rnn's `.npz` files, which hold pickles, read without running what a pickle asks for.

A pickle can name any function and have it called. Here the names that NumPy writes for an array of arrays stand for
stand-ins that only note their arguments; every other name, every other operation and every size that does not fit is
refused. Files of both Python 2 (as the host serves them) and Python 3 are read. What a file may ask for is bounded by
what it unpacks to, and that by MAX_MEMBER_BYTES: an array that a pickle names a thousand times counts a thousand times.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

MAX_MEMBER_BYTES = 256 * 2**20  # unpacked; 75,000 drawings take about 25 MB
MAX_ARRAYS = 500_000  # of one split; the largest category has 340,000 drawings
_ADVICE = "save each drawing as an array of numbers: np.array(drawing, np.int16)"
_OPERATIONS_PER_ARRAY = 40  # of the pickle machine; NumPy's pickles need 15 to 25


class UnreadableFile(ValueError):
    """The file cannot be used at all; the message says what was found and what is allowed."""


def read_npz(path: Path, names: tuple[str, ...]) -> dict[str, list[np.ndarray]]:
    """The arrays of each named member, such as `{"train": [(time, 3), …]}`. Raises UnreadableFile."""
    where = path.name
    with path.open("rb") as file:
        if file.read(6) == npy.MAGIC_PREFIX:
            raise UnreadableFile(f"{where}: found an .npy file; allowed: an .npz with {', '.join(names)}")
    try:
        with zipfile.ZipFile(path) as archive:
            missing = [name for name in names if f"{name}.npy" not in archive.namelist()]
            if missing:
                found = ", ".join(sorted(archive.namelist())[:10])
                raise UnreadableFile(f"no {', '.join(missing)} inside; found: {found}")
            arrays = {}
            for name in names:
                where = f"{path.name}: {name}"
                with archive.open(f"{name}.npy") as file:
                    content = file.read(MAX_MEMBER_BYTES + 1)
                arrays[name] = _arrays(content)
            return arrays
    except UnreadableFile as error:
        raise UnreadableFile(f"{where}: {error}") from None
    except Exception as error:  # damage makes the libraries raise anything: struct.error, LZMAError, SyntaxError, …
        found = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise UnreadableFile(f"{where}: not a readable .npz archive: {found}") from None


def _arrays(content: bytes) -> list[np.ndarray]:
    """The arrays in one `.npy` member: an object array of arrays, or a plain array whose first axis is the examples."""
    if len(content) > MAX_MEMBER_BYTES:
        raise UnreadableFile(f"larger than {MAX_MEMBER_BYTES} bytes when unpacked")
    stream = io.BytesIO(content)
    try:
        version = npy.read_magic(stream)
        read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
        shape, fortran, dtype = read_header(stream)
    except (ValueError, KeyError) as error:
        raise UnreadableFile(f"not an .npy array: {error}") from None
    if not shape or shape[0] > MAX_ARRAYS or min(shape) < 0:
        raise UnreadableFile(f"an array of shape {shape}; allowed: up to {MAX_ARRAYS} examples")
    if not dtype.hasobject:
        return list(_array(shape, dtype, fortran, content[stream.tell() :]))
    return _objects(shape, stream, len(content))


def _objects(shape: tuple[int, ...], stream: io.BytesIO, size: int) -> list[np.ndarray]:
    """The arrays in the pickle of an object array, of which `size` bytes are there."""
    values = math.prod(shape)
    if values > size:
        raise UnreadableFile(f"{size} bytes for an array of shape {shape} of objects")
    operations = _OPERATIONS_PER_ARRAY * (shape[0] + 100) + 2 * (values if len(shape) > 1 else 0)
    try:
        outer = _ArrayUnpickler(stream, operations=operations, size=size).load()
    except UnreadableFile:
        raise
    except Exception as e:  # whatever the machine raises where a pickle is none
        raise UnreadableFile(f"not a pickle of NumPy arrays ({type(e).__name__}: {e})") from None
    items = outer.value if isinstance(outer, _Array) else None
    if not isinstance(items, list) or len(items) != values:
        raise UnreadableFile(f"found {type(items).__name__}; allowed: an array of {shape[0]} arrays")
    if len(shape) > 1:
        return _block(shape, items)
    if kinds := {type(item).__name__ for item in items if not isinstance(item, _Array)}:
        raise UnreadableFile(f"found {' and '.join(sorted(kinds))} instead of drawings; {_ADVICE}")
    arrays = [item.value for item in items]
    if not all(isinstance(array, np.ndarray) for array in arrays):
        raise UnreadableFile("arrays nested three deep; allowed: an array of arrays of numbers")
    if (total := sum(array.nbytes for array in arrays)) > MAX_MEMBER_BYTES:
        raise UnreadableFile(f"arrays of {total:,} bytes in total; allowed: {MAX_MEMBER_BYTES:,}")
    return arrays


def _block(shape: tuple[int, ...], items: list[Any]) -> list[np.ndarray]:
    """What `np.array(drawings, dtype=object)` makes of drawings that are all as long: a block of single numbers."""
    if not all(type(item) in (int, float) for item in items):
        raise UnreadableFile(f"a block {shape} of objects that are not numbers; {_ADVICE}")
    block = np.array(items)
    if block.dtype.kind not in "iuf":
        raise UnreadableFile(f"a block {shape} of numbers beyond 64 bits; {_ADVICE}")
    return list(block.reshape(shape))


def _array(shape: Any, dtype: np.dtype, fortran: Any, data: bytes) -> np.ndarray:
    """An array of numbers whose size is that of its data."""
    if dtype.kind not in "iuf" or dtype.names or dtype.shape:
        raise UnreadableFile(f"values of type {dtype}; allowed: integers and floating-point numbers")
    if not (isinstance(shape, tuple) and all(isinstance(n, int) and n >= 0 for n in shape) and len(shape) <= 4):
        raise UnreadableFile("an array whose shape is not a tuple of whole numbers")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise UnreadableFile(f"{len(data)} bytes for an array of shape {shape} and type {dtype}")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


class _Array:
    """What stands for an array while a pickle is read."""

    value: Any = None  # an array of numbers, or the list that an array of objects holds

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        if dtype.spec == "O8":
            self.value = data
            return
        self.value = _array(shape, dtype.numpy(), fortran, data)


class _Type:
    """What stands for a `numpy.dtype`: its name and, from its state, its byte order."""

    order = "="

    def __init__(self, spec: Any, *_: Any) -> None:
        self.spec = spec.decode("latin1") if isinstance(spec, bytes) else spec if isinstance(spec, str) else ""

    def __setstate__(self, state: Any) -> None:
        order = state[1].decode("latin1") if isinstance(state[1], bytes) else state[1]
        self.order = {"<": "<", ">": ">", "|": "|", "=": "="}[order]

    def numpy(self) -> np.dtype:
        if self.spec not in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"):
            raise UnreadableFile(f"values of type {self.spec[:20]!r}; allowed: integers and floating-point numbers")
        return np.dtype(self.order + self.spec)


_NDARRAY = "numpy.ndarray"  # only ever an argument of `_reconstruct`: nothing can call a text


def _reconstruct(kind: Any, *_: Any) -> _Array:
    if kind != _NDARRAY:
        raise UnreadableFile(f"an array whose type is a {type(kind).__name__}; allowed: {_NDARRAY}")
    return _Array()


_NAMES: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Type,
}

_OPERATIONS = (
    *(pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.MARK, pickle.GLOBAL, pickle.STACK_GLOBAL, pickle.REDUCE),
    *(pickle.MEMOIZE, pickle.BINPUT, pickle.LONG_BINPUT, pickle.BINGET, pickle.LONG_BINGET),
    *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1),
    pickle.BINFLOAT,
    *(pickle.BINSTRING, pickle.SHORT_BINSTRING, pickle.BINUNICODE, pickle.SHORT_BINUNICODE),
    *(pickle.BINBYTES, pickle.SHORT_BINBYTES, pickle.BINBYTES8),
    *(pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
    *(pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS),
)


def _counted(operation: Callable[[Any], None]) -> Callable[[Any], None]:
    def run(self: _ArrayUnpickler) -> None:
        self.operations -= 1
        if self.operations < 0:
            raise UnreadableFile(
                f"a pickle with more operations than arrays need, perhaps because it holds lists; {_ADVICE}"
            )
        operation(self)

    return run


def _build(self: Any) -> None:
    """The state of an object: given to our stand-ins alone, since a state can change whatever it is given to."""
    state = self.stack.pop()
    target = self.stack[-1]
    if not isinstance(target, (_Array, _Type)):
        raise UnreadableFile(f"a state for a {type(target).__name__}; allowed: NumPy arrays and types")
    target.__setstate__(state)


_Machine: Any = pickle._Unpickler  # the one in Python: the one in C cannot refuse operations


class _ArrayUnpickler(_Machine):
    """Python's unpickler with the names and the operations that arrays need."""

    dispatch = {
        **{ord(operation): _counted(_Machine.dispatch[ord(operation)]) for operation in _OPERATIONS},
        ord(pickle.BUILD): _counted(_build),
    }

    def __init__(self, stream: io.BytesIO, *, operations: int, size: int) -> None:
        super().__init__(stream, encoding="bytes")
        self.operations = operations
        self.size = size  # bytes that may still be encoded

    def encode(self, text: Any, encoding: Any) -> bytes:
        """`_codecs.encode`, by which Python 3 writes bytes into a protocol 2 pickle."""
        if encoding != "latin1" or not isinstance(text, str):
            raise UnreadableFile("text in an encoding other than latin1")
        self.size -= len(text)
        if self.size < 0:
            raise UnreadableFile("a pickle that encodes more bytes than it contains")
        return text.encode("latin1")

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return self.encode
        if (module, name) not in _NAMES:
            raise UnreadableFile(f"a pickle that loads {module}.{name}; allowed: NumPy arrays")
        return _NAMES[module, name]
