"""What the `*_quality` benchmarks share: rows, each an overlay of params and what is measured with it, become tables.

A row's params are those of its recipe, or of params.yaml, with its overlay on top. Networks are trained in processes of
their own and kept below `--work`, as are prepared data: what is done is not done again unless code or params change.
Estimates stand beside their 95 % bootstrap interval, differences to a part's first row are paired ones. After each row
NAME.md and NAME.json in `--work` have the rows so far.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from stages.data.files import read_json, write_json
from stages.evaluation.bootstrap import Difference, Scores, difference, interval
from stages.params import load
from stages.paths import NETWORK_NAME
from stages.provenance.hashes import code_md5
from stages.tasks.protocol import Task

from . import command, data, trainee
from .data import Overlay

_PROBED = 2000  # examples by which a training's rate is measured
_QUICK = 200  # examples that are trained on with --quick
_FIGURES = "figures.json"  # beside a network: how it was trained

Cell = Scores | Difference | Sequence[float] | float | int | str


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Row:
    """A row of a table, `ROW` or `PART/ROW`; each part is a table. Without a recipe its params are `task`'s."""

    name: str
    measure: Callable[[Trial], Mapping[str, Cell]]  # its cells by column
    overlay: Overlay = field(default_factory=dict)
    recipe: str = ""
    task: str = ""
    file: str = ""  # below --data, where the recipe's address is that of one file

    @property
    def part(self) -> str:
        return self.name.rpartition("/")[0]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a row is measured by: params, where files lie, and for how long to train."""

    row: Row
    task: Task
    params: Any  # of the task's own type
    source: Path  # the copy of the host
    work: Path
    minutes: float  # of a training; 0: the epochs of its params
    quick: bool

    @classmethod
    def of(cls, row: Row, source: Path, work: Path, *, minutes: float = 0.0, quick: bool = False) -> Trial:
        """The row's params, with a copy of its host in place of the host."""
        if row.recipe:
            task, params = data.recipe_params(row.recipe, source / row.file, work)
        else:
            task, params = Task(row.task), load(data.REPOSITORY / "params.yaml")[row.task]
        params = data.overlaid(params, row.overlay)
        return cls(row=row, task=task, params=params, source=source, work=work, minutes=minutes, quick=quick)

    def overlaid(self, overlay: Overlay) -> Trial:
        """The same with other params."""
        return replace(self, params=data.overlaid(self.params, overlay))

    @cached_property
    def folder(self) -> Path:
        """The prepared data."""
        return data.prepared(self.task, self.params, self.work)

    def trained(self, *, start: Path | None = None, anew: bool = False) -> tuple[Path, dict[str, Any]]:
        """The folder of a network trained on the prepared data, and how that went; trained now where it is not there,
        or `anew`. `start` is the folder of another network, whose weights it starts from but for its last layer.
        """
        code = [f"stages.{name}" for name in ("training.loop", f"tasks.{self.task.name}.model.network")]
        facts = {
            "data": self.folder.name,
            "code": code_md5(code),
            "model": self.params.model.model_dump(),
            "train": self.params.train.model_dump(),
            "start": start.name if start else "",
            "minutes": self.minutes,
            "quick": self.quick,
        }
        home = self.work / "networks" / data.digest(facts)
        if anew or not (home / _FIGURES).is_file():
            epochs = 1 if self.quick else self._epochs_within() if self.minutes else self.params.train.epochs
            run = self._run(epochs, examples=_QUICK if self.quick else 0, start=start, saved=home)
            figures = {
                "epochs": epochs,
                "best_epoch": read_json(home / NETWORK_NAME)["training"]["best_epoch"] + 1,
                "seconds": sum(answer["seconds"] for answer in run.answers),
                "training_seconds": sum(answer["turn_seconds"] for answer in run.answers),  # measuring included
                "sequences_per_second": run.answers[0]["sequences_per_second"],
                "weights": run.ready["weights"],
            }
            write_json(home / _FIGURES, figures)
        return home, read_json(home / _FIGURES)

    def _epochs_within(self) -> int:
        """How many epochs fit into the minutes, measuring after each included; one or more.

        By the second of two passes over a part of the examples: the first one warms up, and in the last one a training
        with scheduled sampling is slowest.
        """
        run = self._run(2, examples=_PROBED)
        training, both = (run.answers[1][name] for name in ("seconds", "turn_seconds"))
        examples = len(self.task.model().dataset(self.folder, "train", self.params, augment=True))
        return max(1, int(60 * self.minutes / (training * examples / run.ready["examples"] + both - training)))

    def _run(self, epochs: int, **options: Any) -> trainee.Trainee:
        """A training in the ranks that the params ask for, of all these epochs."""
        params = data.overlaid(self.params, {"train": {"epochs": epochs, "patience": epochs}})
        name, split = self.row.name, "validation"
        with trainee.engine(name, self.task.name, self.folder, params, measured=split, **options) as run:
            trainee.in_turns(run)
        return run


def main(
    name: str,
    doc: str | None,
    rows: Sequence[Row],
    *,
    host: str,
    minutes: float | None = 0.0,
    compared: str = "",
    means: bool = False,
) -> None:
    """The command line of a benchmark; `compared` is the column that is compared with a part's first row, `minutes` how
    long a training takes where nothing else is asked for; None for rows that train by themselves. `means`: the rows of
    a part are seeds, and their means are a last row.
    """
    parser = command.parser(name, doc, host=host)
    names = [*dict.fromkeys(row.part for row in rows if row.part), *(row.name for row in rows)]
    parser.add_argument("rows", nargs="*", metavar="ROW", help="; ".join(names).replace("%", "%%"))
    parser.set_defaults(minutes=minutes or 0.0)
    if minutes is not None:
        parser.add_argument("--minutes", type=float, help="of each training (%(default)g); 0: the epochs of its params")
    parser.add_argument("--quick", action="store_true", help="an epoch of few examples: numbers say nothing")
    args = parser.parse_args()
    command.check(parser, args.rows, names)
    command.on_cpu()
    work = args.work.resolve()
    chosen = [row for row in rows if not args.rows or {row.name, row.part} & set(args.rows)]
    if compared:
        first = {row.part: row for row in reversed(rows)}
        chosen = list(dict.fromkeys(row for one in chosen for row in (first[one.part], one)))
    result: dict[str, Any] = {"machine": command.machine(), "minutes": args.minutes, "quick": args.quick, "rows": []}
    firsts: dict[str, Mapping[str, Cell]] = {}
    for row in chosen:
        cells = dict(row.measure(Trial.of(row, args.data, work, minutes=args.minutes, quick=args.quick)))
        base = firsts.setdefault(row.part, cells)
        if base is not cells and compared in cells:
            cells |= _compared(compared, cells[compared], base[compared])
        result["rows"].append({"row": row.name} | {column: _as_json(cell) for column, cell in cells.items()})
        print(f"{row.name}: {result['rows'][-1]}", flush=True)
        write_json(work / f"{name}.json", result)
        (work / f"{name}.md").write_text(markdown(result["rows"]), encoding="utf-8")
    if means:
        for part, own in _by_part(result["rows"]).items():
            if len(own) > 1:
                result["rows"].append({"row": f"{part}/mean", **command.mean(own)})
    print(f"\n{markdown(result['rows'])}")
    command.write(args.json, result)


def _compared(column: str, own: Cell, base: Cell) -> dict[str, Cell]:
    assert isinstance(own, Scores)
    assert isinstance(base, Scores)
    found = difference(own, base)
    return {f"{column} less the first row's": found, "p": found.p}


def _as_json(cell: Cell) -> Any:
    if isinstance(cell, Scores):
        low, high = interval(cell)
        return {"value": cell.value(), "low": low, "high": high}
    return asdict(cell) if isinstance(cell, Difference) else cell


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table for each part."""
    return "\n".join(map(command.table, _by_part(rows).values()))


def _by_part(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["row"].rpartition("/")[0], []).append(row)
    return found
