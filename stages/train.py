"""Train a task's network and, if params ask for it, refit it on all data.

python -m stages.train TASK         reads  data/TASK/prepared/, sources/weights/TASK.json,
                                           params.yaml: TASK.model, TASK.train
                                    writes weights/TASK/measured/, weights/TASK/served/ (only with train.refit: all),
                                           plots/TASK/training.csv, plots/TASK/steps.csv, a run in MLflow

A training that was stopped or killed resumes from its newest state in .resume/ when it is started again. On SIGTERM or
Ctrl-C, it saves its state and ends with status 75.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from .command import main
from .data.files import fresh_folder
from .progress_bar import tell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from .data.store import Split
    from .models.network import Network
    from .params import TaskParams, TrainParams
    from .tasks.protocol import Task
    from .tracking.training_run import TrainingRun
    from .training.checkpoint import Checkpoints
    from .training.progress import Epoch, StepRecord, TrainingHistory


def train(task: Task, params: TaskParams, *, tracked: bool = True) -> None:
    """Train a task's network from fresh weights, or from where it was stopped, and keep those of its best epoch, or
    its last as `train.choose` says; with `train.refit`, then train the network that is served in its place. MLflow
    knows of it where it is `tracked`.
    """
    from .training import launch

    launch.run("train", task.name, params.train.ranks, _train, task, params, tracked)


def _train(task: Task, params: TaskParams, tracked: bool) -> None:
    from .data.prepared import open_prepared
    from .data.store import SPLITS
    from .models.learned import FITTED_SPLITS, LEARNED_NAME, Learned
    from .models.weights import WEIGHTS_NAME, save_network
    from .provenance.hashes import training_signature
    from .tracking.start_weights import pinned, read_pinned
    from .training import distributed, learning_curve
    from .training.checkpoint import Checkpoints

    paths, model = task.paths, task.model()
    _, description = open_prepared(paths.prepared)
    pin = pinned(task, params)
    start = read_pinned(task, pin) if pin and distributed.rank() == 0 else {}
    before = Learned.parse(start[LEARNED_NAME]) if LEARNED_NAME in start else None  # a damaged one fails now
    network = _fresh_network(task, params, description, start.get(WEIGHTS_NAME))
    device = distributed.device().type
    sha256 = pin.files[WEIGHTS_NAME].sha256 if pin else ""
    signature = distributed.broadcast(
        training_signature(paths, params.model.model_dump(), params.train.model_dump(), device, sha256)
    )
    checkpoints = Checkpoints.of(paths.resume(signature))
    of_refit = Checkpoints.of(checkpoints.folder / "refit")
    served, refit = None, None
    with _reported(task, params, signature, network, (of_refit, checkpoints), tracked=tracked) as report:
        measured = _fit(task, params, network, checkpoints, report)
        # To learn a batch by heart is a question about the network, and is answered.
        if params.train.refit == "all" and params.train.mode != "overfit":
            served = _fresh_network(task, params, description, start.get(WEIGHTS_NAME), quiet=True)
            refit = _refit(task, params, served, measured, of_refit, report)
            _match_calibration(task, params, served, network)
    if distributed.rank() != 0:
        return

    def save(folder: Path, trained: Network, split: Split, further: Mapping[str, int | str]) -> None:
        names = ("mode", "seed", "threads")
        further = {**further, **({"started_from": pin.name} if pin else {})}
        training = {"signature": signature, **{name: getattr(params.train, name) for name in names}, **further}
        save_network(folder, trained, params.model, description, prepared=paths.prepared, training=training)
        learned = model.learned(paths.prepared, split)
        if before is not None:
            learned = learned.joined(before)
        learned.save(folder)

    with fresh_folder(paths.weights) as folder:
        reached = {
            "best_epoch": measured.best_epoch,
            "epochs": len(measured.epochs),
            "still_improving": measured.still_improving,
        }
        save(folder / paths.measured.name, network, FITTED_SPLITS, reached)
        if served is not None and refit is not None:
            save(folder / paths.served.name, served, SPLITS, {"epochs": len(refit.epochs)})
    learning_curve.write(paths.learning_curve, learning_curve.epoch_rows(measured, refit))
    learning_curve.write(paths.steps, learning_curve.step_rows(measured, refit))
    checkpoints.remove()


def _fresh_network(
    task: Task, params: TaskParams, description: Mapping[str, Any], start: bytes | None, *, quiet: bool = False
) -> Network:
    """The task's network as its training begins, the same each time: with fresh weights, or with those of the content
    of a weights file, `start`, where they fit; which do not is told, unless `quiet`.
    """
    from .models.weights import start_from
    from .training import distributed

    distributed.configure(seed=params.train.seed, threads=params.train.threads)
    if params.train.precision != "float32":
        distributed.keep_few_kernels()
    network: Network = task.model().build(params.model, description)
    network.load_pretrained(task.paths.prepared)
    if start is not None:
        fresh = start_from(network, start, f"{task.name}.train.start_from: {params.train.start_from}")
        network.copy_calibration(task.model().build(params.model, description))
        if not quiet:
            left = f"; these layers start fresh, since they do not fit: {', '.join(fresh)}" if fresh else ""
            print(f"train {task.name}: starting from {params.train.start_from}{left}", flush=True)
    return network


def _fit(
    task: Task, params: TaskParams, network: Network, checkpoints: Checkpoints, report: _Report
) -> TrainingHistory:
    """Train the network that is measured, keep its best or last epoch, and calibrate it; it then lies on the CPU."""
    from .training import debug_modes, inference, loop

    model, prepared = task.model(), task.paths.prepared
    train, validation, train_params = debug_modes.apply_mode(
        network,
        model.dataset(prepared, "train", params, augment=True),
        model.dataset(prepared, "validation", params, augment=False),
        params.train,
    )
    history = loop.fit(network, train, validation, train_params, checkpoints=checkpoints, **report.hooks())
    _tell_of_last_epoch(task.name, params.train, history)
    network.calibrate(lambda function: inference.predict(network, validation, params.train.batch_size, function))
    network.cpu()
    return history


def _tell_of_emulation(name: str, precision: str) -> None:
    """One line where the processor computes the chosen precision step by step in float32."""
    from .training import distributed

    if distributed.is_emulated(precision):
        slow = f"this processor has no instructions for {precision}, so float32 is faster"
        tell(f"unroll: train {name}: {slow} ({name}.train.precision)")


def _tell_of_last_epoch(name: str, params: TrainParams, history: TrainingHistory) -> None:
    if params.mode == "full" and params.choose == "best" and history.still_improving:
        tell(f"unroll: train {name}: still improving in its last epoch ({params.epochs}): train.epochs may be too few")


def _refit(
    task: Task,
    params: TaskParams,
    network: Network,
    measured: TrainingHistory,
    checkpoints: Checkpoints,
    report: _Report,
) -> TrainingHistory:
    """Train the network that is served, on all data."""
    from .data.store import SPLITS
    from .training import debug_modes, loop
    from .training.learning_curve import REFIT

    everything = task.model().dataset(task.paths.prepared, SPLITS, params, augment=True)
    data, _, train_params = debug_modes.apply_mode(network, everything, everything, params.train)
    return loop.refit(network, data, train_params, measured, checkpoints=checkpoints, **report.hooks(REFIT))


def _match_calibration(task: Task, params: TaskParams, served: Network, measured: Network) -> None:
    """Calibrate the network that is served by the measured one; it then lies on the CPU."""
    from .training import debug_modes, distributed, inference

    validation = task.model().dataset(task.paths.prepared, "validation", params, augment=False)
    _, validation, _ = debug_modes.apply_mode(served, validation, validation, params.train)
    predicts = []
    for network in (served, measured):
        network.to(distributed.device())
        predicts.append(partial(inference.predict, network, validation, params.train.batch_size))
    served.match_calibration(measured, *predicts)
    served.cpu()
    measured.cpu()


@dataclass(frozen=True)
class _Report:
    """Whom a training tells of its steps and epochs: the tracking and the terminal, of rank 0."""

    run: TrainingRun | None
    stop_requested: Callable[[], bool]

    def hooks(self, prefix: str = "") -> dict[str, Any]:
        """What the loop calls; all names begin with `prefix`."""
        from .training import distributed, learning_curve

        def on_epoch(record: Epoch) -> None:
            if self.run is not None:
                self.run.epoch(record, prefix)
            if distributed.rank() == 0:
                print(f"{prefix.replace('_', ' ')}{learning_curve.line(record)}", flush=True)

        def on_step_record(record: StepRecord) -> None:
            if self.run is not None:
                row = learning_curve.step_row(record)
                values = {f"{prefix}step_{name}": value for name, value in row.items() if name != "step"}
                self.run.metrics(values, record.step)

        return {"stop_requested": self.stop_requested, "on_epoch": on_epoch, "on_step_record": on_step_record}


@contextmanager
def _reported(
    task: Task,
    params: TaskParams,
    signature: str,
    network: Network,
    states: tuple[Checkpoints, Checkpoints],
    *,
    tracked: bool,
) -> Iterator[_Report]:
    """A run in MLflow around the trainings in the block, which goes on where one of `states`, the later training's
    first, has something to go on from. Exits with STATUS where they were stopped.
    """
    from .models.weights import parameters
    from .tracking import training_run
    from .training import distributed, launch

    with ExitStack() as stack:
        run = None
        if distributed.rank() == 0:  # the others know nothing that it does not
            found = ((state.steps(), state.folder) for state in states)
            resumed, folder = next((pair for pair in found if pair[0] is not None), (None, None))
            if resumed is not None:
                print(f"train {task.name}: resuming after step {resumed}, from {folder}", flush=True)
            facts: dict[str, Any] = {"parameters": parameters(network), "devices": distributed.described()}
            print(f"train {task.name}: {facts['parameters']:,} weights, {facts['devices']}", flush=True)
            _tell_of_emulation(task.name, params.train.precision)
            if tracked:
                run = stack.enter_context(
                    training_run.training_run(task, params, signature, resumed_step=resumed, **facts)
                )
        stoppable = launch.stoppable("train", task.name, states[-1].folder)
        yield _Report(run, stack.enter_context(stoppable))


if __name__ == "__main__":
    main("train", __doc__, train)
