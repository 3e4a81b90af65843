"""The sequence store: ragged sequences in one Arrow IPC file, written as a stream, read through a memory map.

One row is one sequence. Ragged columns are lists: of numbers (`list<int32>`, token ids) or of fixed-size vectors
(`list<fixed_size_list<float>[3]>`, steps with 3 features). The file is uncompressed, so that a sequence is a view of
the mapped file and costs no copy, and pandas, polars and DuckDB open it as it is. Every record batch but the last
holds the same number of rows, so that row → batch is one division and opening costs the same for a thousand rows or a
hundred million.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
from pyarrow import compute

SPLITS = ("train", "validation", "test")
Split = str | tuple[str, ...]  # one of them, or several taken together
FILE_NAME = "sequences.arrow"
_METADATA = b"unroll"


def split_names(split: Split) -> tuple[str, ...]:
    """The names of one split or of several."""
    return (split,) if isinstance(split, str) else split


def ragged(dtype: Any, *shape: int) -> pa.DataType:
    """The Arrow type of a column whose rows are arrays of `(time, *shape)`; the steps are stored flattened."""
    item = pa.from_numpy_dtype(np.dtype(dtype))
    return pa.list_(pa.list_(item, int(np.prod(shape))) if shape else item)


def schema(columns: Mapping[str, pa.DataType], *, id_type: pa.DataType | None = None) -> pa.Schema:
    """A store's schema: `id`, `split` and `length` (steps), then the task's own columns."""
    common = {"id": id_type or pa.string(), "split": pa.dictionary(pa.int8(), pa.string()), "length": pa.int32()}
    return pa.schema({**common, **columns})


class SequenceWriter:
    """Writes rows, one by one or many at once; memory holds those of a call and `rows_per_batch` more at the most.

    A context manager: the file has a temporary name until the block ends without an error. `metadata` (JSON-able)
    stands in the file's schema and says what a reader must know, such as the shape of a step.
    """

    def __init__(
        self,
        path: Path,
        columns: pa.Schema,
        *,
        rows_per_batch: int = 1024,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = path
        self._temporary = path.with_name(f".{path.name}.partial")
        self._rows_per_batch = rows_per_batch
        described = {"rows_per_batch": rows_per_batch, **(metadata or {})}
        self.schema = columns.with_metadata({_METADATA: json.dumps(described, sort_keys=True).encode()})
        self._rows: list[Mapping[str, Any]] = []
        self._waiting = self.schema.empty_table()  # fewer than rows_per_batch, before those in _rows
        self.count = 0

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = pa.OSFile(str(self._temporary), "wb")
        # Split names get their codes here, once: an IPC file cannot replace a dictionary half way.
        self._writer = pa.ipc.new_file(self._file, self.schema)
        return self

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one row. Raises ValueError where a column is missing or unknown, or the split is not one of SPLITS."""
        if row.keys() != set(self.schema.names):
            raise ValueError(f"{self.path}: a row has the columns {sorted(row)}; allowed: {sorted(self.schema.names)}")
        if row["split"] not in SPLITS:
            raise ValueError(f"{self.path}: row {row['id']!r}: split {row['split']!r}; allowed: {', '.join(SPLITS)}")
        self._rows.append(row)
        self.count += 1
        if len(self._rows) == self._rows_per_batch:
            self._collect_rows()

    def extend(self, columns: Mapping[str, Any]) -> None:
        """Add rows that come as Arrow columns; `split` holds places in SPLITS. The file is as if they came one by one.

        Raises ValueError where a column is missing or unknown.
        """
        if columns.keys() != set(self.schema.names):
            raise ValueError(f"{self.path}: columns {sorted(columns)}; allowed: {sorted(self.schema.names)}")
        self._collect_rows()
        splits = pa.chunked_array([columns["split"]]) if isinstance(columns["split"], pa.Array) else columns["split"]
        codes = [pa.DictionaryArray.from_arrays(part, pa.array(SPLITS)) for part in splits.chunks]
        whole = {**columns, "split": pa.chunked_array(codes, self.schema.field("split").type)}
        table = pa.table([whole[name] for name in self.schema.names], schema=self.schema)
        self.count += len(table)
        self._write(table)

    def _collect_rows(self) -> None:
        arrays = [_column([row[field.name] for row in self._rows], field) for field in self.schema]
        self._rows.clear()
        self._write(pa.table(arrays, schema=self.schema))

    def _write(self, table: pa.Table, *, rest: bool = False) -> None:
        """Write batches of `rows_per_batch`; what is left over waits, or is a last batch where it is the `rest`."""
        table = pa.concat_tables([self._waiting, table]).combine_chunks()
        end = len(table) if rest else len(table) // self._rows_per_batch * self._rows_per_batch
        for start in range(0, end, self._rows_per_batch):
            # Taken and not sliced: the bytes of a slice depend on where it was cut from.
            rows = table.take(np.arange(start, min(start + self._rows_per_batch, end)))
            self._writer.write_table(rows, self._rows_per_batch)
        self._waiting = table.slice(end)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._collect_rows()
                self._write(self.schema.empty_table(), rest=True)
            self._writer.close()
        finally:
            self._file.close()
            if kind is not None:
                self._temporary.unlink(missing_ok=True)
        if kind is None:
            self._temporary.replace(self.path)


def _column(values: Sequence[Any], field: pa.Field) -> pa.Array:
    kind = field.type
    if field.name == "split":
        codes = pa.array([SPLITS.index(v) for v in values], pa.int8())
        return pa.DictionaryArray.from_arrays(codes, pa.array(SPLITS))
    if not pa.types.is_list(kind):
        return pa.array(values, kind)
    vectors = pa.types.is_fixed_size_list(kind.value_type)
    item = kind.value_type.value_type if vectors else kind.value_type
    if not (pa.types.is_integer(item) or pa.types.is_floating(item)):
        return pa.array(values, kind)
    dtype = pa.array([], item).to_numpy(zero_copy_only=False).dtype  # `to_pandas_dtype` would import pandas
    arrays = [np.asarray(v, dtype=dtype) for v in values]
    offsets = np.zeros(len(arrays) + 1, dtype=np.int32)
    np.cumsum([len(a) for a in arrays], out=offsets[1:])
    flat = pa.array(np.concatenate([a.reshape(-1) for a in arrays]) if arrays else np.empty(0, dtype), item)
    steps = pa.FixedSizeListArray.from_arrays(flat, kind.value_type.list_size) if vectors else flat
    return pa.ListArray.from_arrays(pa.array(offsets), steps).cast(kind)


class SequenceStore:
    """A store, mapped into memory. Raises ValueError where `path` is not a store this module wrote."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._reader = pa.ipc.open_file(pa.memory_map(str(path)))
        except pa.ArrowInvalid as error:
            raise ValueError(f"{path}: not an Arrow IPC file: {error}") from None
        described = (self._reader.schema.metadata or {}).get(_METADATA)
        if described is None:
            raise ValueError(f"{path}: an Arrow file, but not a sequence store: its schema has no 'unroll' metadata")
        self.metadata: dict[str, Any] = json.loads(described)
        self._rows_per_batch: int = self.metadata["rows_per_batch"]
        batches = self._reader.num_record_batches
        last = self._reader.get_batch(batches - 1).num_rows if batches else 0
        self._length = max(batches - 1, 0) * self._rows_per_batch + last
        self._ragged = lru_cache(maxsize=4096)(self._ragged_uncached)

    def __len__(self) -> int:
        return self._length

    @property
    def columns(self) -> list[str]:
        return list(self._reader.schema.names)

    def column(self, name: str) -> np.ndarray:
        """One value a row, for all rows, as a NumPy array; for scalar columns."""
        parts = list(self._parts(name))
        return pa.chunked_array(parts).to_numpy() if parts else np.empty(0, dtype=object)

    def codes(self, name: str, values: Sequence[str]) -> np.ndarray:
        """For a column of text, the place of each row's value in `values`, for all rows, as int32.

        The text stays in the map: as Python objects, a million words take a hundred megabytes. Raises ValueError where
        a row holds another value.
        """
        known = pa.array(values, pa.string())
        parts = [compute.index_in(part, known) for part in self._parts(name)]
        if any(part.null_count for part in parts):
            raise ValueError(f"{self.path}: column {name!r} has other values than the allowed {', '.join(values)}")
        return pa.chunked_array(parts, pa.int32()).to_numpy()

    def rows(self, split: Split) -> np.ndarray:
        """The row numbers of one split, or of several, ascending, as int64."""
        chosen = [SPLITS.index(name) for name in split_names(split)]
        codes = [part.indices.to_numpy() for part in self._parts("split")]
        return np.flatnonzero(np.isin(np.concatenate(codes), chosen)) if codes else np.empty(0, dtype=np.int64)

    def lengths(self, name: str) -> np.ndarray:
        """How many steps the ragged value of each row has, for all rows, as int32."""
        parts = [np.diff(part.offsets.to_numpy()) for part in self._parts(name)]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int32)

    def sequence(self, name: str, row: int) -> np.ndarray:
        """The ragged value of one row as a read-only view: `(time,)`, or `(time, step)` with the step flattened."""
        index, within = divmod(int(row), self._rows_per_batch)
        values, offsets = self._ragged(name, index)
        return values[offsets[within] : offsets[within + 1]]

    def value(self, name: str, row: int) -> Any:
        """One row's value of any column, as a Python object."""
        index, within = divmod(int(row), self._rows_per_batch)
        return self._reader.get_batch(index).column(name)[within].as_py()

    def values(self, name: str, rows: np.ndarray) -> Iterator[Any]:
        """Values of any column of some rows, ascending, as Python objects; memory holds those of a record batch."""
        count = self._reader.num_record_batches
        ends = np.searchsorted(rows, np.arange(count + 1) * self._rows_per_batch)
        for index, part in enumerate(self._parts(name)):
            within = rows[ends[index] : ends[index + 1]] - index * self._rows_per_batch
            yield from part.take(within).to_pylist()

    def _parts(self, name: str) -> Iterator[pa.Array]:
        """A column, one record batch after the other."""
        return (self._reader.get_batch(i).column(name) for i in range(self._reader.num_record_batches))

    def _ragged_uncached(self, name: str, index: int) -> tuple[np.ndarray, np.ndarray]:
        array = self._reader.get_batch(index).column(name)
        offsets = array.offsets.to_numpy()
        values = array.values
        if pa.types.is_fixed_size_list(values.type):
            return values.values.to_numpy().reshape(-1, values.type.list_size), offsets
        return values.to_numpy(), offsets
