"""`stages.predict`: what it reads from a user's files, and what becomes of each row."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from stages import predict
from stages.predict import chunks, main, run
from stages.preprocessing.workers import Crash
from stages.registry.packaging import signature
from stages.serving.lines import lines, suffix
from stages.serving.predictor import Item, Predictor
from stages.serving.tables import csv_writer, table_writer
from stages.tasks.protocol import Task


class Length(Predictor):
    """Says how long a text is, and knows no empty ones."""

    inputs = {"text": "string"}
    outputs = {"length": "double", "words": "strings"}
    optional_outputs = {"letters": "strings"}
    options = {"times": 1, "spell": "no"}
    requirements = ()

    def __init__(self, folder: Path = Path()) -> None: ...

    def read(self, item: Item) -> Any:
        if not item.content["text"]:
            raise ValueError("text: found none")
        return item.content["text"]

    def requested_outputs(self, options):
        return ["letters"] if options["spell"] == "yes" else []

    def predict_batch(self, examples, options):
        return [
            [{"length": float(len(text)) * options["times"], "words": text.split(), "letters": list(text)}]
            for text in examples
        ]


class Loaded:
    """A pyfunc model around `Length`, as MLflow loads one."""

    def __init__(self) -> None:
        found = signature(Length, {})
        self.sizes: list[int] = []
        self.metadata = SimpleNamespace(
            get_input_schema=lambda: found.inputs,
            get_output_schema=lambda: found.outputs,
            get_params_schema=lambda: found.params,
        )

    def predict(self, frame: pd.DataFrame, params: dict[str, Any]) -> pd.DataFrame:
        self.sizes.append(len(frame))
        return Length().predict(frame, **params)


def test_columns_that_a_models_own_data_brought_stand_in_its_signature() -> None:
    found = signature(Length, {"price": "any"}).inputs
    assert found.input_names() == [*signature(Length, {}).inputs.input_names(), "price"]
    assert "price" in found.required_input_names()


SQUARE = '{"key_id": "a", "drawing": [[[0, 1], [0, 1]]]}'


@pytest.mark.parametrize("source", ["-", "/dev/stdin"])
@pytest.mark.parametrize(
    ("task", "text", "key", "found"),
    [
        ("sketch", f"{SQUARE}\n\nnonsense\n", "drawing", [[[[0, 1], [0, 1]]], "nonsense"]),
        ("drawing", "cat\nMüller\t0.5\n", "label", ["cat", "Müller"]),
        ("translation", "two words\n\nlast", "text", ["two words", "", "last"]),
        ("video", "a/1.mp4\nhttps://host/2.avi\n", "path", ["a/1.mp4", "https://host/2.avi"]),
        # The series stand in pieces: all of them are read before the first is given on.
        ("forecast", "unique_id,ds,y\na,1,1\nb,1,2\na,2,3\n", "y", ["1", "3", "2"]),
        ("forecast", "ds,y\n2015-01-01,1\n", "unique_id", ["series"]),
    ],
)
def test_every_task_reads_a_pipe(task: str, source: str, text: str, key: str, found: list[Any]) -> None:
    reader = (
        "import json, sys\nfrom stages.tasks.protocol import Task\nrows = Task(sys.argv[1]).rows()\n"
        "print(json.dumps([row[sys.argv[3]] for group in rows.groups(sys.argv[2]) for row in group]))"
    )
    command = [sys.executable, "-c", reader, task, source, key]
    content = text.encode() if source == "-" else gzip.compress(text.encode("utf-16"))
    done = subprocess.run(command, input=content, capture_output=True, check=False)
    assert json.loads(done.stdout or b"null") == found, done.stderr.decode()


def test_a_named_pipe_is_read_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "days.csv")
    writer = threading.Thread(target=(tmp_path / "days.csv").write_text, args=("ds,y\n1,1\n2,2\n",))
    writer.start()
    (rows,) = Task("forecast").rows().groups(str(tmp_path / "days.csv"))
    writer.join()
    assert [row["y"] for row in rows] == ["1", "2"]


def test_the_last_line_counts_what_was_answered(
    tmp_path: Path, model: Loaded, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.csv"
    translate(sentences(tmp_path, b"two words\n\n\xff\nlast"), output)
    assert capsys.readouterr().err.splitlines()[-1] == f"4 rows in {output}: 2 answered, 2 with an error"
    translate(sentences(tmp_path, b"one"), output)
    assert capsys.readouterr().err.splitlines()[-1] == f"1 row in {output}: 1 answered, 0 with an error"


@pytest.mark.parametrize("address", ["models:/translator@champion", "a/folder"])
def test_a_question_leaves_no_store_in_the_current_folder(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    sentences(tmp_path, b"a sentence")
    monkeypatch.setattr(sys, "argv", ["predict", "translation", "sentences.txt", "--model", address])
    with pytest.raises(SystemExit, match=f"unroll: predict translation: {address}: "):
        main()
    assert [path.name for path in tmp_path.iterdir()] == ["sentences.txt"]


def test_a_model_answers_as_it_was_measured_unless_told_otherwise() -> None:
    params = signature(Length, {}, {"times": 3, "batch_size": 64}).params
    assert {param.name: param.default for param in params} == {"on_error": "raise", "times": 3, "spell": "no"}


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Loaded:
    loaded = Loaded()
    monkeypatch.setattr(predict, "_load", lambda address: loaded)
    return loaded


def sentences(folder: Path, content: bytes) -> str:
    path = folder / "sentences.txt"
    path.write_bytes(content)
    return str(path)


def translate(source: str, output: Path, **params: Any) -> bool:
    return run(Task("translation"), source, "models:/none", output, params)


def test_a_cluster_that_is_away_is_told_before_the_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNROLL_RAY", "127.0.0.1:9")
    monkeypatch.setattr(predict, "_load", lambda address: pytest.fail("it was loaded"))
    with pytest.raises(RuntimeError, match="UNROLL_RAY=127.0.0.1:9: no head node answers"):
        translate(sentences(tmp_path, b"text"), tmp_path / "out.csv")


def test_a_model_of_another_task_is_refused_in_one_line(tmp_path: Path, model: Loaded) -> None:
    (tmp_path / "drawings.ndjson").write_text('{"drawing": [[[0, 1], [0, 1]]]}\n')
    line = "models:/none: needs the column text; the input has drawing, .*; allowed: a model of sketch, and "
    with pytest.raises(ValueError, match=line):
        run(Task("sketch"), str(tmp_path / "drawings.ndjson"), "models:/none", tmp_path / "out.csv", {})
    assert not (tmp_path / "out.csv").exists()


def test_every_line_has_its_row_in_the_table(tmp_path: Path, model: Loaded) -> None:
    translate(sentences(tmp_path, b"two words\n\n\xff\nlast"), tmp_path / "out.csv")
    rows = list(csv.DictReader((tmp_path / "out.csv").open(encoding="utf-8")))
    assert [row["number"] for row in rows] == ["1", "2", "3", "4"]
    assert [row["length"] for row in rows] == ["9.0", "", "", "4.0"]
    bad = "found byte 0xff at 0; allowed: UTF-8, or set --encoding cp1252"
    assert [row["error"] for row in rows] == ["", "text: found none", bad, ""]
    assert json.loads(rows[0]["words"]) == ["two", "words"]


def test_of_a_table_the_column_text_is_answered(tmp_path: Path, model: Loaded) -> None:
    table = tmp_path / "sentences.csv"
    table.write_bytes(b'\xef\xbb\xbfid,text\n7,"one, ""two"""\n8,"over\ntwo lines"\n9,\n10,caf\xc3\xa9\n')
    translate(str(table), tmp_path / "out.csv")
    rows = list(csv.DictReader((tmp_path / "out.csv").open(encoding="utf-8", newline="")))
    assert [(row["number"], row["text"]) for row in rows] == [
        ("2", 'one, "two"'),
        ("4", "over\ntwo lines"),
        ("5", ""),
        ("6", "café"),
    ]
    assert [row["error"] for row in rows] == ["", "", "text: found none", ""]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("sentences.csv", b"a sentence\nanother one\n", "found columns a sentence; allowed: text"),
        ("sentences.csv", b"", "found columns none; allowed: text"),
        ("sentences.csv", b"text\ncaf\xe9\n", "line 2: found byte 0xe9 at 3 after 'caf'; allowed: UTF-8, or set --enc"),
        ("sentences.txt", "a sentence\n".encode("utf-16-le"), "found UTF-16-LE without a byte order mark"),
        (
            "sentences.txt",
            b"one\rtwo\r",
            "found lines that end in a carriage return alone; allowed: a line feed, or both",
        ),
    ],
)
def test_a_file_of_another_form_is_refused(
    name: str, content: bytes, reason: str, tmp_path: Path, model: Loaded
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}: {reason}"):
        translate(str(tmp_path / name), tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_columns_that_some_params_ask_for_are_there_where_they_do(tmp_path: Path, model: Loaded) -> None:
    source = sentences(tmp_path, b"ab\n\nc")
    translate(source, tmp_path / "plain.csv")
    translate(source, tmp_path / "spelt.parquet", spell="yes")
    plain = (tmp_path / "plain.csv").read_text(encoding="utf-8").splitlines()[0]
    assert plain == "number,text,length,words,error"
    spelt = pd.read_parquet(tmp_path / "spelt.parquet")
    assert [None if letters is None else list(letters) for letters in spelt["letters"]] == [["a", "b"], None, ["c"]]


def test_a_day_is_written_without_its_midnight() -> None:
    days: list[tuple[Any, Any]] = [(pd.Timestamp("2018-01-07"), 1.5), (datetime(2018, 1, 8), None), (None, 2.0)]
    written = io.StringIO()
    csv_writer(written, {"ds": "datetime", "y": "double"})({"ds": ds, "y": y} for ds, y in days)
    assert written.getvalue() == "ds,y\n2018-01-07,1.5\n2018-01-08,\n,2.0\n"


def test_a_parquet_has_the_types_of_the_models_signature_even_where_nothing_could_be_answered(
    tmp_path: Path, model: Loaded
) -> None:
    translate(sentences(tmp_path, b"\n\n"), tmp_path / "out.parquet")
    table = pd.read_parquet(tmp_path / "out.parquet", dtype_backend="pyarrow")
    assert {name: str(kind) for name, kind in table.dtypes.items()} == {
        "number": "int64[pyarrow]",
        "text": "string[pyarrow]",
        "length": "double[pyarrow]",
        "words": "list<element: string>[pyarrow]",
        "error": "string[pyarrow]",
    }
    assert table["length"].isna().all()


@pytest.mark.parametrize(("content", "fine"), [(b"a word\n\n", True), (b"\n\n", False), (b"", True)])
def test_it_fails_where_no_row_at_all_could_be_answered(
    content: bytes, fine: bool, tmp_path: Path, model: Loaded
) -> None:
    assert translate(sentences(tmp_path, content), tmp_path / "out.csv") is fine


def test_a_large_file_is_answered_a_chunk_at_a_time(
    tmp_path: Path, model: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.tasks.translation.rows.CHUNK_SIZE", 10)
    translate(sentences(tmp_path, b"word\n" * 25), tmp_path / "out.csv", times=3)
    assert model.sizes == [10, 10, 5]
    table = pd.read_csv(tmp_path / "out.csv")
    assert table["number"].tolist() == list(range(1, 26))
    assert set(table["length"]) == {12}


def test_no_more_is_read_than_is_asked_next() -> None:
    read = 0

    def groups(source: str, encoding: str) -> Iterator[list[dict[str, Any]]]:
        nonlocal read
        while True:
            read += 1
            yield [{"number": read}]

    reader = SimpleNamespace(groups=groups, CHUNK_SIZE=7, KEY={}, INPUT="")
    assert len(next(chunks(reader, "endless"))) == 7
    assert read == 7


def test_an_error_in_the_middle_leaves_no_half_a_table_and_the_old_one_as_it_was(
    tmp_path: Path, model: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.csv"
    output.write_text("old")
    monkeypatch.setattr("stages.tasks.translation.rows.CHUNK_SIZE", 1)
    monkeypatch.setattr(model, "predict", lambda frame, params: Length().predict(frame).iloc[:0])
    with pytest.raises(ValueError, match="the model gave 0 answers to 1 rows; allowed: one per row"):
        translate(sentences(tmp_path, b"a\nb"), output)
    assert output.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "sentences.txt"]


def test_what_the_model_does_not_know_is_refused_and_what_it_knows_is_named(tmp_path: Path, model: Loaded) -> None:
    with pytest.raises(ValueError, match=r"unknown params \['beam'\]; allowed: times"):
        translate(sentences(tmp_path, b"a"), tmp_path / "out.csv", beam=2)


def test_a_missing_file_is_told_before_a_model_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "_load", lambda address: pytest.fail("loaded"))
    with pytest.raises(ValueError, match=r"nothing\.txt: no such file"):
        translate(str(tmp_path / "nothing.txt"), tmp_path / "out.csv")


def test_several_processes_give_the_table_of_one(
    tmp_path: Path, model: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the pool are stood in for: what each does is done here, and pickled."""
    asked: list[int] = []

    def here(function, items, *, processes: int, join_in: bool):
        asked.append(processes)
        function = pickle.loads(pickle.dumps(function))
        for item in items:
            yield item, pickle.loads(pickle.dumps(function(pickle.loads(pickle.dumps(item)))))

    monkeypatch.setattr(predict, "ordered_map", here)
    monkeypatch.delenv("UNROLL_THREADS", raising=False)
    monkeypatch.setattr(predict, "processors", lambda: 7)
    source = sentences(tmp_path, b"\n".join(b"two words" * (number % 7) for number in range(3000)) + b"\n\xff\n")
    for processes, name in ((1, "one.csv"), (3, "three.csv"), (None, "default.csv")):
        run(Task("translation"), source, "folder", tmp_path / name, {"times": 2}, processes=processes)
    assert asked == [2]  # beside this one
    assert os.environ.pop("UNROLL_THREADS") == "2"  # they share the processors
    assert (tmp_path / "three.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()
    assert (tmp_path / "default.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()
    assert len(list(csv.DictReader((tmp_path / "three.csv").open(encoding="utf-8")))) == 3001


def test_an_empty_source_starts_no_other_process(
    tmp_path: Path, model: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "ordered_map", lambda *_, **__: pytest.fail("processes were started"))
    assert run(Task("translation"), sentences(tmp_path, b""), "folder", tmp_path / "out.csv", {}, processes=2)
    assert (tmp_path / "out.csv").read_text().splitlines()[0].startswith("number,text,")


def test_rows_that_end_their_process_are_named(tmp_path: Path, model: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(function, items, **options: Any):
        yield from (
            (item, Crash("the process died") if number else function(item)) for number, item in enumerate(items)
        )

    monkeypatch.setattr(predict, "ordered_map", crash)
    monkeypatch.setenv("UNROLL_THREADS", "1")
    source = sentences(tmp_path, b"word\n" * 3000)
    with pytest.raises(RuntimeError, match="^rows 1,025 to 2,048: the process died while answering them"):
        run(Task("translation"), source, "folder", tmp_path / "out.csv", {}, processes=2)
    assert not (tmp_path / "out.csv").exists()


def test_what_stands_before_a_fault_of_the_file_is_answered_by_several_processes_too(
    model: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ahead(function, items, **options: Any):
        yield from [(item, function(item)) for item in list(items)]  # all are read before the first is answered

    def chunks_read():
        yield from ([{"number": number, "text": "word"}] for number in range(3))
        raise ValueError("sentences.txt: damaged")

    monkeypatch.setattr(predict, "ordered_map", ahead)
    monkeypatch.setenv("UNROLL_THREADS", "1")
    monkeypatch.setattr(predict, "_loaded", {"folder": model})
    answered = predict.answered_chunks("folder", Task("translation").rows().KEY, chunks_read(), {}, processes=2)
    assert [next(answered)[0][0]["number"] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="damaged"):
        next(answered)


def test_an_alias_stands_for_one_version_in_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    client = SimpleNamespace(get_model_version_by_alias=lambda name, alias: SimpleNamespace(version=f"7{name}{alias}"))
    monkeypatch.setattr("stages.tracking.store.missing_database", lambda: None)
    monkeypatch.setattr("stages.tracking.mlflow_runs.open_client", lambda: client)
    assert predict._pinned("models:/translator@champion") == "models:/translator/7translatorchampion"
    assert predict._pinned("models:/translator/3") == "models:/translator/3"


@pytest.mark.parametrize("count", ["0", "-1", "two", "1.5"])
def test_a_number_of_processes_that_is_none_is_refused(count: str, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["predict", "sketch", "x.ndjson", f"--processes={count}"])
    with pytest.raises(SystemExit):
        main()
    assert f"found '{count}'; allowed: a whole number of 1 or more" in capsys.readouterr().err


@pytest.mark.parametrize("task", Task.names())
def test_a_task_says_what_it_reads_and_reads_what_its_model_wants(task: str) -> None:
    rows = Task(task).rows()
    assert rows.INPUT
    assert rows.CHUNK_SIZE > 0
    assert set(rows.KEY.values()) <= {"long", "double", "string", "datetime"}


def test_drawings_come_as_lines_of_quickdraw_as_bare_lines_and_as_a_list(tmp_path: Path) -> None:
    square = [[[0, 1], [0, 1]]]
    record = {"key_id": 5, "word": "cat", "drawing": square}
    (tmp_path / "d.ndjson").write_text(f"{json.dumps(record)}\n\n{json.dumps(square)}\nnonsense")
    (tmp_path / "d.json").write_text(json.dumps([record, square]))
    groups = Task("sketch").rows().groups
    assert [row for (row,) in groups(str(tmp_path / "d.ndjson"))] == [
        {"number": 1, "key_id": "5", "drawing": square, "target": "cat"},
        {"number": 3, "key_id": None, "drawing": square},
        {"number": 4, "key_id": None, "drawing": "nonsense"},  # the model says what is wrong with it
    ]
    assert [row["drawing"] for (row,) in groups(str(tmp_path / "d.json"))] == [square, square]
    (tmp_path / "d.json").write_text('{"drawing": []}')
    with pytest.raises(ValueError, match=r"d\.json: found dict; allowed: a list of drawings"):
        list(groups(str(tmp_path / "d.json")))


def test_clips_come_from_a_folder_a_list_or_one_by_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("b/2.mp4", "b/1.mp4", "a/3.mp4", ".hidden/4.mp4", "b/.5.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b/.hidden").touch()
    (tmp_path / "b/README.md").touch()
    (tmp_path / "list.txt").write_text("https://host/x.mp4\n\n one.avi \r\n")
    groups = Task("video").rows().groups
    below = [str(tmp_path / name) for name in ("a/3.mp4", "b/1.mp4", "b/2.mp4")]
    (tmp_path / "list.txt").rename(tmp_path / ".list.txt")
    found = [row for (row,) in groups(str(tmp_path))]
    assert ([row["path"] for row in found], [row["target"] for row in found]) == (below, ["a", "b", "b"])
    assert [row["path"] for (row,) in groups(str(tmp_path / ".list.txt"))] == ["https://host/x.mp4", "one.avi"]
    assert list(groups("s3://bucket/clips/x.mp4")) == [[{"path": "s3://bucket/clips/x.mp4", "target": "clips"}]]
    readme = str(tmp_path / "b/README.md")
    assert capsys.readouterr().err == f"1 skipped, whose ending is not that of a clip, such as {readme}\n"
    assert list(groups(readme)) == [
        [{"path": readme, "target": "b"}]
    ]  # it was named: the model says what is wrong with it
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="none: found no clip; allowed endings: 3g2 3gp"):
        list(groups(str(tmp_path / "none")))


@pytest.mark.parametrize("ending", ["{}", "{}.gz", "{}.GZ"])
@pytest.mark.parametrize("form", [str.lower, str.upper])
def test_an_ending_says_the_same_in_any_case(tmp_path: Path, form: Any, ending: str) -> None:
    def read(task: str, name: str, text: str) -> list[Any]:
        path = tmp_path / ending.format(form(name))
        path.write_bytes(gzip.compress(text.encode()) if ending.lower().endswith("gz") else text.encode())
        rows = Task(task).rows()
        sources = (str(path), f"file://{path}", f"FILE://{path}")
        found = [[row[next(iter(example))] for (row,) in rows.groups(source)] for source in sources]
        assert found[0] == found[1] == found[2]
        return found[0]

    example = {"text": ""}
    assert read("translation", "s.csv", 'n,text\n1,"two\nlines"\n') == ["two\nlines"]
    assert read("translation", "s.txt", "text\n") == ["text"]
    example = {"drawing": ""}
    assert read("sketch", "d.json", "[[[[0, 1], [0, 1]]]]") == [[[[0, 1], [0, 1]]]]
    example = {"path": ""}
    assert read("video", "l.txt", "one.avi\n") == ["one.avi"]


def test_an_ending_is_that_of_the_file_and_not_of_a_query() -> None:
    assert suffix("https://host/s.CSV?signature=a.b/c.json") == ".csv"
    assert suffix("of 2020?/s.json") == ".json"


@pytest.mark.parametrize(("name", "magic"), [("a.CSV", b"text"), ("a.PARQUET", b"PAR1")])
def test_an_output_is_written_by_its_ending_in_any_case(tmp_path: Path, name: str, magic: bytes) -> None:
    with table_writer(predict._output(str(tmp_path / name)), {"text": "string"}) as write:
        write([{"text": "a"}])
    assert (tmp_path / name).read_bytes().startswith(magic)


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_a_file_that_cannot_grow_is_named_and_goes(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("yesterday's")
    writes = (
        "import resource, sys\nfrom pathlib import Path\nfrom stages.serving.tables import table_writer\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "with table_writer(Path(sys.argv[1]), {'text': 'string'}) as write:\n"
        "    write({'text': f'{n:09}'} for n in range(100_000))\n"
    )
    command = [sys.executable, "-c", writes, str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].startswith(f"OSError: {tmp_path / name}: cannot be written: ")
    assert "File too large" in done.stderr.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "yesterday's"


def test_an_output_that_cannot_be_is_refused_before_the_input_is_read(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").touch()
    for output, line in {
        "folder.csv": "found a folder; allowed: the name of a file",
        "file/new/a.csv": f"{tmp_path / 'file'} is a file; allowed: a file in a folder",
    }.items():
        with pytest.raises(OSError, match=f"^{tmp_path / output}: {line}$"):
            run(Task("translation"), "no input", "no model", tmp_path / output, {})


@pytest.mark.parametrize(
    ("address", "right"),
    [
        ("forecaster", "models:/forecaster@champion"),
        ("forecaster@challenger", "models:/forecaster@challenger"),
        ("sketch-classifier/3", "models:/sketch-classifier/3"),
        ("models:/forecaster", "models:/forecaster@champion"),
    ],
)
def test_a_registered_name_is_answered_with_its_address(address: str, right: str) -> None:
    with pytest.raises(ValueError, match=f"{address}: no such folder; the address of a registered model is {right}$"):
        predict._load(address)


def test_ids_with_blanks_around_them_are_one_series_and_so_is_a_column(tmp_path: Path) -> None:
    (tmp_path / "days.csv").write_text(" unique_id, ds,y \nS1,1,1\nS2,1,2\nS1 ,2,3\n \t,1,4\n")
    groups = list(Task("forecast").rows().groups(str(tmp_path / "days.csv")))
    assert [[(row["unique_id"], row["y"]) for row in rows] for rows in groups] == [
        [("S2", "2")],
        [("S1", "1"), ("S1", "3")],
        [(None, "4")],
    ]


def test_a_series_is_given_on_once_it_is_whole_and_not_later(tmp_path: Path) -> None:
    (tmp_path / "days.csv").write_text("unique_id,ds,y\na,1,1\nb,1,2\na,2,3\n,1,4\nc,1,5\n")
    groups = Task("forecast").rows().groups(str(tmp_path / "days.csv"))
    assert next(groups) == [{"unique_id": "b", "ds": "1", "y": "2"}]
    assert [row["y"] for row in next(groups)] == ["1", "3"]
    assert [(rows[0]["unique_id"], len(rows)) for rows in groups] == [(None, 1), ("c", 1)]


def test_a_lone_series_is_called_after_its_file_and_other_columns_are_refused(tmp_path: Path) -> None:
    (tmp_path / "days.csv").write_text("\ufeffds,y\n2015-01-01,1\n", encoding="utf-8")
    groups = Task("forecast").rows().groups
    assert list(groups(str(tmp_path / "days.csv"))) == [[{"unique_id": "days", "ds": "2015-01-01", "y": "1"}]]
    (tmp_path / "days.csv").write_text("price,ds,y\n3,2015-01-01,1,\n")  # what the model needs as well is handed on
    assert list(groups(str(tmp_path / "days.csv"))) == [
        [{"unique_id": "days", "ds": "2015-01-01", "y": "1", "price": "3"}]
    ]
    (tmp_path / "days.csv").write_text("date,y\n")
    with pytest.raises(ValueError, match=r"found columns date, y; allowed: ds, y and, for several series, unique_id"):
        list(groups(str(tmp_path / "days.csv")))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ds,y\n2015-01-01,1,106\n", "line 2: found 3 values for 2 columns"),
        ("ds,y\n2015-01-01\n", "line 2: found 1 values for 2 columns"),
        ("ds,y,y\n2015-01-01,1,2\n", "found the column y twice"),
        ('ds,y\n2015-01-01,"1"06\n', "line 2: found text after a closing quotation mark"),
        ('ds,y\n2015-01-01,"1\n2015-01-02,2\n2015-01-03,3"\n', "found a value that spans several lines"),
    ],
)
def test_a_csv_whose_values_would_shift_or_vanish_is_refused(tmp_path: Path, text: str, found: str) -> None:
    (tmp_path / "days.csv").write_text(text)
    with pytest.raises(ValueError, match=found):
        list(Task("forecast").rows().groups(str(tmp_path / "days.csv")))


def test_a_long_line_that_begins_with_blanks_is_no_empty_one(tmp_path: Path) -> None:
    (tmp_path / "clips.txt").write_text(" " * 20_000 + "a.mp4\nb.mp4\n")
    long, short = Task("video").rows().groups(str(tmp_path / "clips.txt"))
    assert long[0]["error"] == "found a line of more than 16,384 characters; allowed: 16,384"
    assert short == [{"path": "b.mp4"}]


def test_a_long_line_of_blanks_is_an_empty_one(tmp_path: Path) -> None:
    for name, task in {"clips.txt": "video", "labels.txt": "drawing", "drawings.ndjson": "sketch"}.items():
        (tmp_path / name).write_text(" " * 5_000_000)
        assert not list(Task(task).rows().groups(str(tmp_path / name)))


def test_a_seed_that_no_column_can_hold_is_that_rows_error(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text(f"cat\t\t{2**64}\ncat\t\t{2**63 - 1}\n")
    (large,), (fine,) = Task("drawing").rows().groups(str(tmp_path / "labels.txt"))
    assert "a seed of 20 characters" in large["error"]
    assert fine["seed"] == 2**63 - 1


def test_lines_are_numbered_cut_at_their_bound_and_unpacked(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbffirst\r\n" + b"x" * 100 + b"\n\n" + b"1234567890\nlast"
    fault = "found a line of more than 10 characters; allowed: 10"
    expected = [(1, "first", None), (2, "x" * 11, fault), (3, "", None), (4, "1234567890", None), (5, "last", None)]
    (tmp_path / "plain").write_bytes(content)
    (tmp_path / "packed.gz").write_bytes(gzip.compress(content))
    assert list(lines(str(tmp_path / "plain"), max_length=10)) == expected
    assert list(lines(f"file://{tmp_path}/packed.gz", max_length=10)) == expected
    (tmp_path / "packed.gz").write_bytes(gzip.compress(content)[:-12])
    with pytest.raises(ValueError, match=r"packed\.gz: damaged"):
        list(lines(str(tmp_path / "packed.gz"), max_length=10))


@pytest.mark.parametrize(
    ("task", "name", "text", "key"),
    [
        ("translation", "a.txt", "Müller\n", "text"),
        ("translation", "a.csv", "text\nMüller\n", "text"),
        ("drawing", "a.txt", "Müller\n", "label"),
        ("video", "a.txt", "Müller\n", "path"),
        ("forecast", "a.csv", "unique_id,ds,y\nMüller,2015-01-01,1\n", "unique_id"),
        ("sketch", "a.ndjson", '{"key_id": "Müller", "drawing": []}\n', "key_id"),
        ("sketch", "a.json", '[{"key_id": "Müller", "drawing": []}]', "key_id"),
    ],
)
def test_every_task_reads_marks_gzip_and_a_named_encoding(
    tmp_path: Path, task: str, name: str, text: str, key: str
) -> None:
    def keys(content: bytes, encoding: str = "auto") -> list[Any]:
        (tmp_path / name).write_bytes(content)
        return [row.get(key) for group in Task(task).rows().groups(str(tmp_path / name), encoding) for row in group]

    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        assert keys(text.encode(encoding)) == ["Müller"]
        assert keys(gzip.compress(text.encode(encoding))) == ["Müller"]
    assert keys(text.encode("cp1252"), "cp1252") == ["Müller"]
    try:
        groups = list(Task(task).rows().groups(str(tmp_path / name)))
    except ValueError as error:
        faults = [str(error)]
    else:
        faults = [row["error"] for group in groups for row in group]
    assert ["found byte 0xfc" in fault and "--encoding cp1252" in fault for fault in faults] == [True]


def test_an_encoding_is_named_on_the_command_line(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["predict", "translation", "a.txt", "--encoding", "cp99"])
    with pytest.raises(SystemExit):
        main()
    assert (
        "found 'cp99'; allowed: auto or an encoding of text that Python knows, such as cp1252"
        in capsys.readouterr().err
    )


def test_a_carriage_return_in_a_value_ends_no_row_of_the_table() -> None:
    file = io.StringIO()
    csv_writer(file, {"text": "string", "error": "string"})(
        [{"text": "a\rb", "error": None}, {"text": "c", "error": "d"}]
    )
    assert file.getvalue() == 'text,error\n"a\rb",\nc,d\n'
    assert pd.read_csv(io.StringIO(file.getvalue(), newline=""))["text"].tolist() == ["a\rb", "c"]


def test_of_a_csv_of_sentences_a_quotation_mark_that_nothing_closes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text,n\n"5 March\n1999",1\n"left open,2\nMay,3\n')
    groups = Task("translation").rows().groups(str(tmp_path / "a.csv"))
    assert next(groups) == [{"number": 3, "text": "5 March\n1999"}]
    with pytest.raises(ValueError, match="line 5: found a quotation mark opened in line 4 and never closed"):
        next(groups)
