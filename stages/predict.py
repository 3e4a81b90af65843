"""Predict with a registered model: one row for each drawing, clip, sentence, or day of a series.

    python -m stages.predict TASK INPUT                            a table on the terminal; CSV into a pipe
    python -m stages.predict TASK INPUT --output answers.parquet   a file, which appears only when it is complete
    …  | python -m stages.predict TASK -                           standard input, one record per line (forecast: CSV)
    python -m stages.predict TASK INPUT --processes 4              four processes, each of which loads the model once

Reads INPUT chunk by chunk: a file of millions of lines needs no more memory than one of thousands. A record that cannot
be answered keeps its row, with the reason in the column `error`. The exit status is 1 if no row could be answered.
If UNROLL_RAY names a cluster, processes on the cluster answer: one per CPU, or as many as `--processes` allows. The
table is the same either way.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from .cluster import connection
from .command import let_threads_sleep
from .data.text import AUTO, check_encoding
from .preprocessing.workers import Crash, ordered_map
from .progress_bar import ProgressBar
from .serving.tables import SUFFIXES, Columns, check_output, table_writer
from .serving.threads import processors
from .tasks.protocol import Rows, Task

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel

Row = dict[str, Any]

_loaded: dict[str, PyFuncModel] = {}  # by address, in each process that answers
# What people write for a registered model: its name, with an alias or a number or without, or `models:/` and no more.
_NAME = re.compile(r"[\w-]+(@[\w-]+|/\d+)?|models:/[\w-]+")


def chunks(reader: Rows, source: str, encoding: str = AUTO) -> Iterator[list[Row]]:
    """The rows of a source, `reader.CHUNK_SIZE` at a time or a few more: rows of one group stay together."""
    chunk: list[Row] = []
    for group in reader.groups(source, encoding):
        chunk += group
        if len(chunk) >= reader.CHUNK_SIZE:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def predict_chunk(model: PyFuncModel, key: Columns, rows: Sequence[Row], params: Mapping[str, Any]) -> list[Row]:
    """The table's rows for some rows of a source, in their order: the columns of `key`, the model's outputs, `error`.

    Without a key the model groups the rows itself, and answers with as many as it likes.
    """
    import pandas as pd
    from mlflow.exceptions import MlflowException

    columns = model.metadata.get_input_schema().input_names()
    valid = [row for row in rows if "error" not in row]
    # Columns of objects: pandas would make numbers and dates of what the model wants to see as it stands.
    frame = pd.DataFrame({name: pd.Series([row.get(name) for row in valid], dtype=object) for name in columns})
    try:
        outputs = model.predict(frame, params={**params, "on_error": "report"})
    except MlflowException as error:
        raise ValueError(next(iter(error.message.splitlines()), "MLflow rejects the rows")) from error
    assert isinstance(outputs, pd.DataFrame)
    outputs = outputs.astype(object).where(outputs.notna(), None)
    predictions = cast("list[Row]", outputs.to_dict("records"))
    if not key:
        return predictions
    if len(predictions) != len(valid):
        raise ValueError(f"the model gave {len(predictions)} answers to {len(valid)} rows; allowed: one per row")
    answers = iter(predictions)
    table: list[Row] = []
    for row in rows:
        answer = {**dict.fromkeys(outputs.columns), "error": row["error"]} if "error" in row else next(answers)
        table.append({**answer, **{name: row.get(name) for name in key}})
    return table


def table_columns(model: PyFuncModel, key: Columns, predicted: Collection[str]) -> Columns:
    """The table's columns: those of `key`, the model's outputs by its signature, `error`. An output that only some
    params ask for is among them where it has been `predicted`.
    """
    from mlflow.types.schema import Array

    columns = dict(key)
    for column in model.metadata.get_output_schema().inputs:
        if not (column.required or column.name in predicted):
            continue
        inner, lists = column.type, ""
        while isinstance(inner, Array):
            inner, lists = inner.dtype, f"list {lists}"
        columns[column.name] = f"{lists}{inner.name}"
    return {**columns, "error": "string"}


def run(
    task: Task,
    source: str,
    address: str,
    output: Path | None,
    params: Mapping[str, Any],
    *,
    encoding: str = AUTO,
    processes: int | None = None,
) -> bool:
    """Answer a source; whether any row could be answered, or there was none. `processes`, this one among them, are one
    by default, and on a cluster as many as it has CPUs.

    Raises ValueError or OSError where that cannot be done; the message is for a person.
    """
    if output is not None:
        check_output(output)
    alone = _alone(processes)
    if not alone:
        connection.check_address()
    reader = task.rows()
    unread = chunks(reader, source, encoding)
    first = next(unread, [])  # a file that is not there is reported before the model is loaded, and so is a cluster
    address = address if alone else _pinned(address)
    model = _loaded[address] = _load(address)
    known = [param.name for param in model.metadata.get_params_schema() or () if param.name != "on_error"]
    if unknown := params.keys() - set(known):  # MLflow would only warn
        raise ValueError(f"unknown params {sorted(unknown)}; allowed: {', '.join(known) or 'none'}")
    _check_columns(model, address, first, task)
    chunks_read = filter(None, chain([first], unread))
    answered = answered_chunks(address, reader.KEY, chunks_read, params, processes=processes)
    head = list(islice(answered, 1))
    columns = table_columns(model, reader.KEY, {name for _, rows in head for row in rows for name in row})
    on_screen = output is None and sys.stdout.isatty()  # the table, which no bar may cut up
    read = written = bad = 0
    with table_writer(output, columns) as write, ProgressBar("predict", unit="rows", quiet=on_screen) as bar:
        for asked, rows in chain(head, answered):
            write(rows)
            bar.update(len(asked))
            read, written = read + len(asked), written + len(rows)
            bad += sum(row["error"] is not None for row in rows)
    reading = f"{_rows(read)} read; " if read != written else ""  # of a task that answers groups of them
    where = f" in {output}" if output else ""
    print(f"{reading}{_rows(written)}{where}: {written - bad:,} answered, {bad:,} with an error", file=sys.stderr)
    return bad < written or not written


def _check_columns(model: PyFuncModel, address: str, rows: Sequence[Row], task: Task) -> None:
    """Raise ValueError where no row has a column that the model needs: it would refuse each of them."""
    found = {name for row in rows if "error" not in row for name in row}
    needed = model.metadata.get_input_schema().required_input_names()
    if found and (missing := [name for name in needed if name not in found]):
        raise ValueError(
            f"{address}: needs the column{'s' * (len(missing) != 1)} {', '.join(missing)}; the input has "
            f"{', '.join(sorted(found))}; allowed: a model of {task.name}, and an input with all columns that it needs"
        )


def answered_chunks(
    address: str,
    key: Columns,
    chunks_read: Iterable[list[Row]],
    params: Mapping[str, Any],
    *,
    processes: int | None = None,
) -> Iterator[tuple[list[Row], list[Row]]]:
    """Each chunk with its part of the table, in order, by this process and others: as many as `run` says.

    Raises RuntimeError for a chunk that ends its process, each time that it is tried.
    """
    function = partial(_answer, address, dict(key), dict(params))
    if _alone(processes):
        yield from ((rows, function(rows)) for rows in chunks_read)
        return
    unreadable: list[Exception] = []
    readable = _up_to_error(chunks_read, unreadable)
    head = list(islice(readable, 1))
    if not head and not unreadable:  # no process is started, nor a cluster asked, for an empty source
        return
    # The processes share the processors; a cluster lends each of them one. The number of threads changes no answer.
    processes = processes or sys.maxsize
    on_cluster = connection.address() is not None
    os.environ.setdefault("UNROLL_THREADS", str(1 if on_cluster else max(1, processors() // processes)))
    first = 1
    for rows, answers in ordered_map(function, chain(head, readable), processes=max(processes - 1, 1), join_in=True):
        if isinstance(answers, Crash):
            raise RuntimeError(f"rows {first:,} to {first + len(rows) - 1:,}: {answers} while answering them")
        yield rows, answers
        first += len(rows)
    if unreadable:
        raise unreadable[0]


def _alone(processes: int | None) -> bool:
    """Whether this process answers alone."""
    return processes == 1 or (processes is None and connection.address() is None)


def _up_to_error(chunks_read: Iterable[list[Row]], errors: list[Exception]) -> Iterator[list[Row]]:
    """The chunks up to one that cannot be read, why in `errors`: those before it are answered first."""
    try:
        yield from chunks_read
    except Exception as error:
        errors.append(error)


def _answer(address: str, key: Columns, params: Mapping[str, Any], rows: Sequence[Row]) -> list[Row]:
    """`predict_chunk` in whatever process, which loads the model once."""
    if address not in _loaded:
        _loaded[address] = _load(address)
    return predict_chunk(_loaded[address], key, rows, params)


def _rows(count: int) -> str:
    return f"{count:,} row" if count == 1 else f"{count:,} rows"


def _pinned(address: str) -> str:
    """The address of the version that an alias stands for now: it may move before the last process asks."""
    found = re.fullmatch(r"models:/([\w-]+)@([\w-]+)", address)
    if found is None:
        return address
    from .tracking import mlflow_runs
    from .tracking.store import missing_database

    if missing_database():
        return address
    try:
        version = mlflow_runs.open_client().get_model_version_by_alias(*found.groups())
    except Exception:  # `_load` says why
        return address
    return f"models:/{found[1]}/{version.version}"


def _load(address: str) -> PyFuncModel:
    """A model by its address. Raises ValueError where there is none, in a line that names no password."""
    if _NAME.fullmatch(address) and not Path(address).exists():
        registered = f"models:/{address.removeprefix('models:/')}"
        newest = "" if re.search("[@/]", registered[8:]) else "@champion"
        raise ValueError(f"{address}: no such folder; the address of a registered model is {registered}{newest}")
    from .tracking import mlflow_runs
    from .tracking.store import missing_database, store_error, without_credentials

    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"  # a model must not run code while it is read
    missing = missing_database()
    if missing and address.lower().startswith(("models:/", "runs:/")):
        raise ValueError(
            f"{address}: no models are registered: {missing} does not exist; MLFLOW_TRACKING_URI sets another store"
        )
    try:
        if not missing:  # a question leaves no new store behind
            mlflow_runs.open_client()
        import mlflow.pyfunc  # after open_client, which sets the environment that MLflow reads

        return mlflow.pyfunc.load_model(address)
    except Exception as error:  # whatever the store, its network or the model's own code may raise
        reason = store_error(error) or next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(without_credentials(f"{address}: {reason}")) from error


def _param(text: str) -> tuple[str, Any]:
    from .params_yaml import parse

    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"found {text!r}; allowed: NAME=VALUE, such as beam_size=1")
    return name, parse(value)


def _encoding(text: str) -> str:
    try:
        return check_encoding(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"found {text!r}; allowed: {error}") from None


def _count(text: str) -> int:
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"found {text!r}; allowed: a whole number of 1 or more")
    return int(text)


def _output(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() not in SUFFIXES:
        raise argparse.ArgumentTypeError(f"found {text!r}; allowed: a file that ends in {' or '.join(SUFFIXES)}")
    return path


def main() -> None:
    """The command line."""
    let_threads_sleep()
    inputs = "\n".join(f"  {name:<12} {Task(name).rows().INPUT}" for name in Task.names())
    parser = argparse.ArgumentParser(
        prog="python -m stages.predict",
        description=__doc__,
        epilog=f"what INPUT may be, on this machine or at any address that fsspec reads:\n{inputs}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("task", choices=Task.names(), metavar="TASK", help=f"one of {', '.join(Task.names())}")
    parser.add_argument("input", metavar="INPUT", help="the records to answer, see below")
    parser.add_argument(
        "--model", metavar="URI", help="models:/NAME/VERSION or a folder; default: models:/NAME@champion"
    )
    parser.add_argument("--output", type=_output, metavar="FILE", help=f"file that ends in {' or '.join(SUFFIXES)}")
    parser.add_argument(
        "--param",
        type=_param,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="param of the model: beam_size=1",
    )
    parser.add_argument(
        "--encoding",
        type=_encoding,
        default=AUTO,
        metavar="NAME",
        help="encoding of INPUT, such as cp1252; default: by its byte order mark, else UTF-8",
    )
    parser.add_argument(
        "--processes",
        type=_count,
        metavar="N",
        help="processes that answer, this one included; default: 1, or a cluster's CPUs",
    )
    args = parser.parse_args()
    task = Task(args.task)
    address = args.model or f"models:/{task.description().model_name}@champion"
    try:
        options = {"encoding": args.encoding, "processes": args.processes}
        if not run(task, args.input, address, args.output, dict(args.param), **options):
            sys.exit(1)
    except BrokenPipeError:  # whoever reads the table has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError, RuntimeError) as error:
        if os.environ.get("UNROLL_TRACEBACK") == "1":
            raise
        sys.exit(f"unroll: predict {task.name}: {next(iter(str(error).splitlines()), type(error).__name__)}")


if __name__ == "__main__":
    main()
