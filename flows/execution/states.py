"""How a stage ended, in Prefect's terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from .stage import Outcome

TOO_LATE = "TimedOut"  # Prefect's own name for the state

_NAMES = {"cached": "Cached", "restored": "Restored", "ran": "Completed"}


def state_of(outcome: Outcome) -> State[Any]:
    """The state that Prefect shows for an outcome."""
    match outcome.kind:
        case "failed":
            return Failed(message=outcome.message)
        case "late":
            return Failed(name=TOO_LATE, message=outcome.message)
        case kind:
            return Completed(name=_NAMES[kind], message=outcome.message)


def failures(states: Mapping[str, State[Any]]) -> list[str]:
    """The stages that failed, each with what it said."""
    bad = {name: state for name, state in states.items() if state.is_failed() or state.is_crashed()}
    return [f"{name}: {state.message}" for name, state in bad.items()]


def outcome_of(state: State[Any]) -> Outcome:
    """The outcome behind the final state of a stage's flow run; what was cancelled there has failed for us."""
    message = state.message or ""
    if not state.is_completed():
        return Outcome(kind="late" if state.name == TOO_LATE else "failed", message=message or f"{state.name}")
    kinds = {name: kind for kind, name in _NAMES.items()}
    return Outcome(kind=kinds.get(state.name or "", "ran"), message=message)  # type: ignore[arg-type]
