"""The pipeline as DVC sees it: its stages, what each waits for, whether it must run and why.

dvc.yaml is the only graph; nothing here repeats it. Deciding costs some milliseconds a stage in this process, where a
`dvc` of its own would take a second or two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from stages.params_yaml import flatten
from stages.sources.pins import path_of

from .compat import ParamsFiles, in_run_cache, open_repo

if TYPE_CHECKING:
    from dvc.stage import Stage as DvcStage

Seen = dict[tuple[str, str], dict[str, str]]  # a path and the hash that it should have → DVC's word on it
Verdict = Literal["cached", "restore", "run", "wait", "held"]


class PipelineError(ValueError):
    """The pipeline cannot be planned as asked; the message says what was found and what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a stage's `meta` asks for. DVC ignores it."""

    gpus: int = 0  # for each rank
    num_gpus: float = 0  # of a GPU, for each process on a Ray cluster that works on a part; stages.cluster reads it
    retries: int = 0
    timeout: float | None = None  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStage:
    """Whether a stage must run, why, and where.

    `cached`: nothing has changed. `restore`: DVC's cache has a result that only has to be checked out. `run`: it
    computes. `wait`: nothing of its own has changed, but a stage before it runs, and may or may not give something new.
    `held`: a night leaves it as it is (`flows.hold_back`).
    """

    name: str
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    pool: str | None = None  # the work pool that it runs on; None: this machine


class Pipeline:
    """The stages of a checkout, in an order in which each comes after all that it needs.

    dvc.yaml, params.yaml and dvc.lock are read when it is made: make another one after a stage has run. `locked` holds
    the stages that dvc.lock names, in its order.
    """

    def __init__(self, root: Path = Path()) -> None:
        from dvc.exceptions import DvcException

        self.root = root.resolve()
        try:
            self._repo = open_repo(self.root)
            with self._repo.lock:  # another process may be writing dvc.lock, which DVC does in place
                graph = self._repo.index.graph
                self.locked = locked_stages(self.root)
        except DvcException as error:
            raise PipelineError(f"{self.root}: {error}") from None
        import networkx

        stages = [stage for stage in networkx.dfs_postorder_nodes(graph) if hasattr(stage, "name")]
        self._stages: dict[str, DvcStage] = {stage.name: stage for stage in stages}
        self._upstream = {
            stage.name: tuple(sorted(s.name for s in graph.successors(stage) if s in stages)) for stage in stages
        }
        self._made = {out.fs_path for stage in stages for out in stage.outs}
        self._params = ParamsFiles()

    def __iter__(self) -> Iterator[str]:
        return iter(self._stages)

    def upstream(self, name: str) -> tuple[str, ...]:
        """The stages whose outputs this one reads."""
        return self._upstream[name]

    def resources(self, name: str) -> Resources:
        """What the stage asks for under `meta`. Raises PipelineError for a key that no flow reads."""
        meta: Mapping[str, Any] = self._stages[name].meta or {}
        unknown = meta.keys() - set(Resources.__slots__)
        if unknown:
            allowed = ", ".join(Resources.__slots__)
            raise PipelineError(f"dvc.yaml: {name}: meta: found {', '.join(sorted(unknown))}; allowed: {allowed}")
        return Resources(**meta)

    def ranks(self, name: str) -> int:
        """How many processes the stage starts: `sketch.train.ranks` of train@sketch; 1 where no param says so."""
        verb, _, task = name.partition("@")
        values: dict[str, Any] = {}
        for dep in self._stages[name].deps:
            if getattr(dep, "params", ()):
                values |= self._params.read(dep)
        return int(values.get(f"{task}.{verb}", {}).get("ranks", 1))

    def params(self, name: str) -> tuple[str, ...]:
        """The keys of params.yaml that the stage reads, as forecast.train; what stands below them counts, too."""
        return tuple(key for dep in self._stages[name].deps for key in getattr(dep, "params", ()))

    def edited(self, name: str, seen: Seen | None = None) -> bool:
        """Whether a person has changed what the stage reads (its command, params or code), or it never ran.

        What stages before it made does not count, nor which version of its source it is to fetch. `seen` holds what was
        found before, of other stages of the same moment.
        """
        stage, seen = self._stages[name], {} if seen is None else seen
        if all(dep.hash_info.value is None for dep in stage.deps) or stage.changed_stage():
            return True
        return any(
            any(self._changed_params(dep)) if hasattr(dep, "read_params") else bool(_status(dep, seen))
            for dep in stage.deps
            if dep.fs_path not in self._made and not _is_pin(dep)
        )

    def pin_moved(self, name: str) -> bool:
        """Whether the stage is to fetch another version of its source than the one it has fetched."""
        return any(bool(dep.status()) for dep in self._stages[name].deps if _is_pin(dep))

    def recorded(self, name: str, path: Path) -> str | None:
        """The hash that dvc.lock has of what a stage read or made; None where it has none."""
        stage = self._stages[name]
        found = (entry for entry in (*stage.deps, *stage.outs) if entry.def_path == path.as_posix())
        return next((entry.hash_info.value for entry in found), None)

    def has_remote(self) -> bool:
        """Whether DVC's configuration names a default remote, over which machines hand each other data."""
        return bool(self._repo.config["core"].get("remote"))

    def needed(self, targets: Iterable[str]) -> tuple[str, ...]:
        """The targets and all stages before them, in order. Raises PipelineError for a name that is no stage."""
        waiting, needed = list(targets), set()
        unknown = [name for name in waiting if name not in self._stages]
        if unknown:
            raise PipelineError(f"{', '.join(unknown)}: no such stage; allowed: {', '.join(self)}")
        while waiting:
            name = waiting.pop()
            if name not in needed:
                needed.add(name)
                waiting.extend(self._upstream[name])
        return tuple(name for name in self if name in needed)

    def plan(self, targets: Sequence[str] | None = None, *, force: bool = False) -> tuple[PlannedStage, ...]:
        """Each stage that the targets need (all, where none are named), in order."""
        plan: dict[str, PlannedStage] = {}
        seen: Seen = {}
        for name in self.needed(targets) if targets is not None else tuple(self):
            stage = self.decide(name, force=force, seen=seen)
            running = [up for up in self._upstream[name] if plan[up].verdict in ("run", "wait")]
            if running and stage.verdict in ("cached", "restore"):
                stage = replace(stage, verdict="wait", reasons=tuple(f"after {up}" for up in running))
            plan[name] = stage
        return tuple(plan.values())

    def decide(self, name: str, *, force: bool = False, seen: Seen | None = None) -> PlannedStage:
        """Whether this stage must run, whatever becomes of those before it; `seen` as in `edited`."""
        if force:
            return PlannedStage(name=name, verdict="run", reasons=("requested with force",))
        stage = self._stages[name]
        # dvc.yaml may name a dep twice
        reasons = tuple(dict.fromkeys(self._reasons(stage, {} if seen is None else seen)))
        if not reasons:
            return PlannedStage(name=name, verdict="cached")
        verdict: Verdict = "restore" if in_run_cache(self._repo, stage) else "run"
        return PlannedStage(name=name, verdict=verdict, reasons=reasons)

    def _reasons(self, stage: DvcStage, seen: Seen) -> Iterator[str]:
        if all(dep.hash_info.value is None for dep in stage.deps):
            yield "has never run: it is not in dvc.lock"
            return
        if stage.changed_stage():
            yield "its command has changed"
        plainer = {"deleted": "missing", "not in cache": "not in DVC's cache"}
        for dep in stage.deps:
            if hasattr(dep, "read_params"):
                yield from self._changed_params(dep)
            elif _is_pin(dep) and "modified" in dep.status().values():
                from stages.sources.change import change_in_words

                try:
                    yield f"source: {change_in_words(Path(dep.fs_path), dep.hash_info.value)}"
                except ValueError as error:  # it was edited, or is damaged
                    raise PipelineError(str(error)) from None
            else:
                yield from (f"{path}: {plainer.get(status, status)}" for path, status in _status(dep, seen).items())
        for out in stage.outs:
            yield from (f"output {path}: {plainer.get(status, status)}" for path, status in out.status().items())

    def _changed_params(self, dep: Any) -> Iterator[str]:
        before = flatten(dep.hash_info.value or {})
        after = flatten(self._params.read(dep))
        for key in {**after, **before}:
            old, new = before.get(key, "nothing"), after.get(key, "nothing")
            if old != new:
                yield f"{key}: {old} → {new}"


def _status(dep: Any, seen: Seen) -> dict[str, str]:
    """What DVC says of a dep, asked once for all stages that read the same: most read the same folders of code."""
    key = dep.fs_path, str(dep.hash_info)
    if key not in seen:
        seen[key] = dep.status()
    return seen[key]


def _is_pin(dep: Any) -> bool:
    path = Path(dep.fs_path)
    return path == Path(dep.repo.root_dir) / path_of(path.stem)


def locked_stages(root: Path) -> tuple[str, ...]:
    """The stages that dvc.lock names, in its order. Only under DVC's lock: it writes the file in place."""
    try:
        text = (root / "dvc.lock").read_text(encoding="utf-8")
    except FileNotFoundError:
        return ()
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return tuple((yaml.load(text, Loader=loader) or {}).get("stages", ()))


def sort_lock(root: Path, *, before: Sequence[str], order: Sequence[str]) -> None:
    """Put dvc.lock in the order of a serial `dvc repro`: the stages it had `before`, as they stood, then the new ones
    in the pipeline's `order`. DVC appends a new stage when it ends, so those that ran side by side stand as they ended.
    """
    from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update

    path = root / "dvc.lock"
    with open_repo(root).lock:
        present = locked_stages(root)
        wanted = [name for name in dict.fromkeys((*before, *order, *present)) if name in present]
        if wanted == list(present):
            return
        content = parse_yaml_for_update(path.read_text(encoding="utf-8"), str(path))
        stages = content["stages"]
        content["stages"] = {name: stages[name] for name in wanted}
        temporary = path.with_name(".dvc.lock.partial")
        temporary.write_text(dumps_yaml(content), encoding="utf-8")
        temporary.replace(path)
