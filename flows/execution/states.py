"""How a stage ended, in Prefect's terms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from .locks import StoppedError
from .stage import Outcome, StageError, TimeLimitError

TIMED_OUT = "TimedOut"  # Prefect's own name for the state

_NAMES = {"cached": "Cached", "restored": "Restored", "ran": "Completed"}


def state_of(work: Callable[[], Outcome]) -> State[Any]:
    """Bring a stage up to date; returns the state that Prefect shows for how that ended."""
    try:
        outcome = work()
    except TimeLimitError as error:
        return Failed(name=TIMED_OUT, message=str(error))
    except StageError as error:
        return Failed(message=str(error))
    except StoppedError as error:
        return Cancelled(message=str(error))
    return Completed(name=_NAMES[outcome.kind], message=outcome.message)


def check_completed(state: State[Any]) -> None:
    """Raise StageError for the final state of a stage's flow run that failed there, or was cancelled."""
    if not state.is_completed():
        raise (TimeLimitError if state.name == TIMED_OUT else StageError)(state.message or str(state.name))


def failures(states: Mapping[str, State[Any]]) -> list[str]:
    """The stages that failed, each with what it said."""
    bad = {name: state for name, state in states.items() if state.is_failed() or state.is_crashed()}
    return [f"{name}: {state.message}" for name, state in bad.items()]


def summary(states: Mapping[str, State[Any]]) -> State[Any]:
    """The state of a flow from those of its stages: which failed, which were not reached, how many ran."""
    counts = Counter(state.name or "Unknown" for state in states.values())
    total = ", ".join(f"{count} {name}" for name, count in counts.items())
    if failed := failures(states):
        return Failed(message="\n\n".join([f"{len(states)} stages: {total}", *failed]))
    return Completed(message=f"{len(states)} stages: {total}")
