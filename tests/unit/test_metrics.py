"""Whether more or less of a metric is better is said in one place, for every metric that anything asks about."""

import re
from pathlib import Path

import pytest

from stages.metrics import higher_is_better
from stages.params import load
from stages.tasks.protocol import Task

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("task", Task.names())
def test_what_is_monitored_and_what_is_judged_by_has_a_direction(task):
    higher_is_better(Task(task).description().metric)
    higher_is_better(load(REPOSITORY / "params.yaml")[task].train.monitor)


def test_what_recipes_monitor_has_a_direction():
    lines = [line for path in (REPOSITORY / "recipes").glob("*.yaml") for line in path.read_text().splitlines()]
    monitored = [match[1] for line in lines if (match := re.match(r" +monitor: (\w+)", line))]
    assert monitored
    for name in monitored:
        higher_is_better(name)


def test_directions_are_those_of_the_literature():
    assert [name for name in ("accuracy", "bleu", "chrf", "loss", "mae", "mase", "wql") if higher_is_better(name)] == [
        "accuracy",
        "bleu",
        "chrf",
    ]


def test_a_metric_that_nobody_has_heard_of_is_refused_by_name():
    with pytest.raises(ValueError, match=r"'perplexity': stages/metrics.py does not say .* known: absolute_error"):
        higher_is_better("perplexity")
