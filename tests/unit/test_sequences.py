import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from stages.data.store import SequenceStore, SequenceWriter, ragged, schema

COLUMNS = schema({"values": ragged(np.float32, 2), "tokens": ragged(np.int32), "label": pa.string()})


def row(number: int, split: str = "train") -> dict[str, object]:
    length = number % 5
    return {
        "id": f"row {number}",
        "split": split,
        "length": length,
        "values": np.arange(2 * length, dtype=np.float32).reshape(length, 2) + number,
        "tokens": np.arange(length, dtype=np.int32),
        "label": "even" if number % 2 == 0 else "odd",
    }


def write(path, count, rows_per_batch=4, metadata=None):
    splits = ("train", "validation", "test")
    with SequenceWriter(path, COLUMNS, rows_per_batch=rows_per_batch, metadata=metadata) as writer:
        for number in range(count):
            writer.append(row(number, splits[number % 3]))


@pytest.mark.parametrize("count", [0, 1, 4, 5, 8, 11])
def test_what_was_written_is_read_whatever_the_number_of_record_batches(tmp_path, count):
    write(tmp_path / "store.arrow", count)
    store = SequenceStore(tmp_path / "store.arrow")
    assert len(store) == count
    for number in range(count):
        expected = row(number)
        np.testing.assert_array_equal(store.sequence("values", number), expected["values"])
        np.testing.assert_array_equal(store.sequence("tokens", number), expected["tokens"])
        assert store.value("label", number) == expected["label"]
    assert store.column("length").tolist() == [number % 5 for number in range(count)]
    for name in ("tokens", "values"):
        assert store.lengths(name).tolist() == [number % 5 for number in range(count)]
    assert store.rows("validation").tolist() == list(range(1, count, 3))


def test_a_sequence_is_a_read_only_view_of_the_mapped_file(tmp_path):
    write(tmp_path / "store.arrow", 3)
    view = SequenceStore(tmp_path / "store.arrow").sequence("values", 2)
    assert not view.flags.owndata
    assert not view.flags.writeable


def test_two_writers_of_the_same_rows_give_the_same_bytes(tmp_path):
    write(tmp_path / "one.arrow", 9)
    write(tmp_path / "two.arrow", 9)
    assert (tmp_path / "one.arrow").read_bytes() == (tmp_path / "two.arrow").read_bytes()


def test_columns_and_rows_are_written_as_the_same_bytes(tmp_path):
    write(tmp_path / "rows.arrow", 11)
    splits = ("train", "validation", "test")
    with SequenceWriter(tmp_path / "columns.arrow", COLUMNS, rows_per_batch=4) as writer:
        for start, stop in ((0, 1), (1, 9), (9, 9)):
            rows = [row(number) for number in range(start, stop)]
            columns = {
                "id": pa.array([r["id"] for r in rows], pa.string()),
                "split": pa.array([number % 3 for number in range(start, stop)], pa.int8()),
                "length": pa.array([r["length"] for r in rows], pa.int32()),
                "label": pa.array([r["label"] for r in rows], pa.string()),
                "tokens": pa.array([r["tokens"] for r in rows], ragged(np.int32)),
                "values": pa.array([list(r["values"]) for r in rows], ragged(np.float32, 2)),
            }
            writer.extend(columns)
        for number in (9, 10):
            writer.append(row(number, splits[number % 3]))
        with pytest.raises(ValueError, match="allowed: .*'label'"):
            writer.extend({"id": pa.array(["a"])})
    assert writer.count == 11
    assert (tmp_path / "columns.arrow").read_bytes() == (tmp_path / "rows.arrow").read_bytes()


def test_pandas_polars_and_duckdb_open_it_as_it_is(tmp_path):
    write(tmp_path / "store.arrow", 6)
    frame = pa.ipc.open_file(tmp_path / "store.arrow").read_pandas()
    assert frame["id"].tolist() == [f"row {n}" for n in range(6)]
    assert frame["tokens"][4].tolist() == [0, 1, 2, 3]
    polars_frame = pl.read_ipc(tmp_path / "store.arrow")
    assert polars_frame["split"].to_list() == ["train", "validation", "test"] * 2
    table = pa.ipc.open_file(tmp_path / "store.arrow").read_all()
    query = "select split, sum(length), max(len(tokens)) from store group by split order by split"
    assert duckdb.arrow(table).query("store", query).fetchall() == [
        ("test", 2, 2),
        ("train", 3, 3),
        ("validation", 5, 4),
    ]


def test_an_error_leaves_nothing_under_the_final_name(tmp_path):
    path = tmp_path / "store.arrow"

    def fail_half_way() -> None:
        with SequenceWriter(path, COLUMNS) as writer:
            writer.append(row(0))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert list(tmp_path.iterdir()) == []


def test_wrong_rows_are_refused_by_name(tmp_path):
    with SequenceWriter(tmp_path / "store.arrow", COLUMNS) as writer:
        with pytest.raises(ValueError, match=r"split 'dev'; allowed: train, validation, test"):
            writer.append(row(0, "dev"))
        with pytest.raises(ValueError, match="columns"):
            writer.append({"id": "1"})


def test_metadata_travels_in_the_schema(tmp_path):
    write(tmp_path / "store.arrow", 1, metadata={"shape": [2, 1]})
    assert SequenceStore(tmp_path / "store.arrow").metadata["shape"] == [2, 1]


def test_a_foreign_file_is_refused_in_words(tmp_path):
    (tmp_path / "text.arrow").write_text("no arrow")
    with pytest.raises(ValueError, match="not an Arrow IPC file"):
        SequenceStore(tmp_path / "text.arrow")
    with pa.ipc.new_file(tmp_path / "other.arrow", pa.schema({"a": pa.int8()})):
        pass
    with pytest.raises(ValueError, match="not a sequence store"):
        SequenceStore(tmp_path / "other.arrow")


def test_the_writer_holds_one_record_batch_at_a_time(tmp_path):
    with SequenceWriter(tmp_path / "store.arrow", COLUMNS, rows_per_batch=8) as writer:
        for number in range(100):
            writer.append(row(number))
            assert len(writer._rows) < 8


def test_codes_are_places_in_the_given_order_and_no_other_text_is_let_through(tmp_path):
    with SequenceWriter(tmp_path / "store.arrow", schema({"label": pa.string()}), rows_per_batch=2) as writer:
        for number, label in enumerate(["pig", "eye", "eye", "face", "pig"]):
            writer.append({"id": str(number), "split": "train", "length": 1, "label": label})
    store = SequenceStore(tmp_path / "store.arrow")
    assert store.codes("label", ["eye", "face", "pig"]).tolist() == [2, 0, 0, 1, 2]
    with pytest.raises(ValueError, match="column 'label' has other values than the allowed eye, pig"):
        store.codes("label", ["eye", "pig"])
