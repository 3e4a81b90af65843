"""Answer a file with a registered model: a table with a row for each drawing, clip or sentence, or a day of a series.

    python -m stages.predict TASK INPUT                            a table on the terminal; CSV into a pipe
    python -m stages.predict TASK INPUT --output answers.parquet   a file, which is there once it is whole

Reads INPUT piece by piece: a file of millions of lines needs no more memory than one of thousands. What cannot be
answered keeps its row, with the reason in the column `error`. The exit status is 1 where that is so for all rows.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .serving.tables import SUFFIXES, Kinds, writer
from .tasks.protocol import Rows, Task

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.pyfunc import PyFuncModel

Piece = TypeVar("Piece")


def portions(reader: Rows, source: str) -> Iterator[list[dict[str, Any]]]:
    """The rows of a source, as many at a time as the task likes; rows that belong together stay together."""
    waiting: list[dict[str, Any]] = []
    for group in reader.groups(source):
        waiting += group
        if len(waiting) >= reader.PORTION:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def answer(model: PyFuncModel, key: Kinds, rows: Sequence[Mapping[str, Any]], params: dict[str, Any]) -> pd.DataFrame:
    """The answers to some rows in their order: the columns of `key`, the model's outputs, `error`.

    Without a key the model groups the rows itself, and answers with as many as it likes.
    """
    import pandas as pd
    from mlflow.exceptions import MlflowException

    inputs = model.metadata.get_input_schema().input_names()
    asked = [number for number, row in enumerate(rows) if "error" not in row]
    # Columns of objects: pandas would make numbers and dates of what the model wants to see as it stands.
    frame = pd.DataFrame({name: pd.Series([rows[n].get(name) for n in asked], dtype=object) for name in inputs})
    try:
        found = model.predict(frame, params={**params, "on_error": "report"})
    except MlflowException as error:
        raise ValueError(next(iter(error.message.splitlines()), "MLflow refuses the rows")) from error
    assert isinstance(found, pd.DataFrame)
    if not key:
        return found
    if len(found) != len(asked):
        raise ValueError(f"the model gave {len(found)} answers to {len(asked)} rows; allowed is one a row")
    answers = found.set_axis(pd.Index(asked)).reindex(range(len(rows)))
    known = {n: row["error"] for n, row in enumerate(rows) if "error" in row}
    answers["error"] = answers["error"].astype(object).where(~answers.index.isin(list(known)), pd.Series(known))
    keys = pd.DataFrame({name: pd.Series([row.get(name) for row in rows], dtype=object) for name in key})
    return pd.concat([keys, answers.drop(columns=[name for name in key if name in answers])], axis=1)


def columns(model: PyFuncModel, key: Kinds, answered: Collection[str] = ()) -> dict[str, str]:
    """The table's columns: those of `key`, the model's outputs as its signature has them, `error`; of the outputs that
    only some params ask for, those that are among `answered`.
    """
    from mlflow.types.schema import Array, DataType

    kinds = dict(key)
    for column in model.metadata.get_output_schema().inputs:
        if not (column.required or column.name in answered):
            continue
        inner = column.type.dtype if isinstance(column.type, Array) else column.type
        assert isinstance(inner, DataType)
        kinds[column.name] = inner.name if inner is column.type else f"list {inner.name}"
    return {**kinds, "error": "string"}


def run(task: Task, source: str, address: str, output: Path | None, params: dict[str, Any]) -> bool:
    """Answer a source; whether any row could be answered, or there was none. Raises ValueError or OSError where that
    cannot be done; the message is for a person.
    """
    reader = task.rows()
    pieces = portions(reader, source)
    first = next(pieces, [])  # a file that is not there is told before the model is loaded
    model = _load(address)
    known = [param.name for param in model.metadata.get_params_schema() or () if param.name != "on_error"]
    if unknown := params.keys() - set(known):  # MLflow would only warn
        raise ValueError(f"unknown params {sorted(unknown)}; allowed: {', '.join(known) or 'none'}")
    from tqdm import tqdm

    asked = answered = bad = 0
    tables = ((len(rows), answer(model, reader.KEY, rows, params)) for rows in _with(first, pieces))
    begun = next(tables, None)
    kinds = columns(model, reader.KEY, begun[1].columns if begun else ())
    with writer(output, kinds) as table, tqdm(unit=" rows", disable=_no_bar(output)) as bar:
        for count, answers in _with(begun, tables):
            table.write(answers)
            bar.update(count)
            asked, answered = asked + count, answered + len(answers)
            bad += int(answers["error"].notna().sum())
    where = f" in {output}" if output else ""
    said = f"; {bad} of them an `error`" if bad else ""
    print(f"{asked:,} rows read, {answered:,} rows{where}{said}", file=sys.stderr)
    return bad < answered or not answered


def _with(first: Piece | None, others: Iterator[Piece]) -> Iterator[Piece]:
    if first:
        yield first
    yield from others


def _no_bar(output: Path | None) -> bool:
    """A bar needs a terminal, and one that no table is written to."""
    return not sys.stderr.isatty() or (output is None and sys.stdout.isatty())


def _load(address: str) -> PyFuncModel:
    """A model by its address. Raises ValueError where there is none, in a line that names no password."""
    from .tracking import mlflow_runs
    from .tracking.store import store_error, without_credentials

    try:
        mlflow_runs.open_client()
        import mlflow.pyfunc  # after `runs`, which sets the environment that MLflow reads

        return mlflow.pyfunc.load_model(address)
    except Exception as error:  # whatever the store, its network or the model's own code may raise
        reason = store_error(error) or next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(without_credentials(f"{address}: {reason}")) from error


def _param(text: str) -> tuple[str, Any]:
    from .params import parse

    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"found {text!r}; allowed: NAME=VALUE, such as beam_size=1")
    return name, parse(value)


def _output(text: str) -> Path:
    path = Path(text)
    if path.suffix not in SUFFIXES:
        raise argparse.ArgumentTypeError(f"found {text!r}; allowed: a file that ends in {' or '.join(SUFFIXES)}")
    return path


def main() -> None:
    """The command line."""
    # OpenMP's threads must not spin while they wait (see `command`); a model must not run code while it is read.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    inputs = "\n".join(f"  {name:<12} {Task(name).rows().INPUT}" for name in Task.names())
    parser = argparse.ArgumentParser(
        prog="python -m stages.predict",
        description=__doc__,
        epilog=f"what INPUT may be, here or at any address that fsspec reads:\n{inputs}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("task", choices=Task.names(), metavar="TASK", help=f"one of {', '.join(Task.names())}")
    parser.add_argument("input", metavar="INPUT", help="what to answer, see below")
    parser.add_argument("--model", metavar="URI", help="models:/NAME/VERSION or a folder; else models:/NAME@champion")
    parser.add_argument("--output", type=_output, metavar="FILE", help=f"ends in {' or '.join(SUFFIXES)}")
    parser.add_argument(
        "--param", type=_param, action="append", default=[], metavar="NAME=VALUE", help="of the model: beam_size=1"
    )
    asked = parser.parse_args()
    task = Task(asked.task)
    address = asked.model or f"models:/{task.description().model_name}@champion"
    try:
        if not run(task, asked.input, address, asked.output, dict(asked.param)):
            sys.exit(1)
    except BrokenPipeError:  # whoever reads the table has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        sys.exit(130)
    except (ValueError, OSError, RuntimeError) as error:
        if os.environ.get("UNROLL_TRACEBACK") == "1":
            raise
        sys.exit(f"unroll: predict {task.name}: {next(iter(str(error).splitlines()), type(error).__name__)}")


if __name__ == "__main__":
    main()
