"""The grammar of a search, and what it refuses."""

from __future__ import annotations

from typing import Any

import optuna
import pytest

from flows.tune.space import Dimension, SearchError, assignment, check, dimension, grid, space
from stages.params_yaml import ParamsError, read

READ = ("forecast.source", "forecast.prepare", "forecast.model", "forecast.train")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "forecast.train.learning_rate=log(1e-4, 1e-1)",
            Dimension(key="forecast.train.learning_rate", kind="log", low=1e-4, high=0.1),
        ),
        ("a.b.c = uniform(0, 0.5)", Dimension(key="a.b.c", kind="uniform", low=0.0, high=0.5)),
        ("a.b.c=int(1,4)", Dimension(key="a.b.c", kind="int", low=1, high=4)),
        ("a.b.c=log_int(8, 256)", Dimension(key="a.b.c", kind="log_int", low=8, high=256)),
        ("a.b.c=[32, 64]", Dimension(key="a.b.c", kind="choice", choices=(32, 64))),
        (
            "a.b.c=[gru, [a, b], true, 1e-3]",
            Dimension(key="a.b.c", kind="choice", choices=("gru", ["a", "b"], True, 1e-3)),
        ),
    ],
)
def test_a_line_says_which_values(text: str, expected: Dimension) -> None:
    assert dimension(text) == expected


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("forecast.train.learning_rate", "found 'forecast.train.learning_rate'; allowed: TASK.BLOCK.KEY=VALUES"),
        ("learning_rate=int(1, 2)", "allowed: TASK.BLOCK.KEY=VALUES"),
        ("a.b.c=3", "a.b.c: found '3'; allowed: [a, b, …], int(low, high), log_int"),
        ("a.b.c=normal(0, 1)", "a.b.c: found 'normal(0, 1)'; allowed: [a, b, …]"),
        ("a.b.c=[1, 2", "a.b.c: found '[1, 2'; allowed: [a, b, …]"),
        ("a.b.c=int(1, 2.5)", "a.b.c: found int(1, 2.5); allowed: two whole numbers, the lower one first"),
        ("a.b.c=int(1, true)", "a.b.c: found int(1, true); allowed: two whole numbers"),
        ("a.b.c=uniform(1, 1)", "a.b.c: found uniform(1, 1); allowed: two numbers, the lower one first"),
        ("a.b.c=uniform(1, 2, 3)", "allowed: two numbers"),
        ("a.b.c=log(0, 1)", "a.b.c: found log(0, 1); allowed: numbers above 0, which have a logarithm"),
        ("a.b.c=[]", "a.b.c: found []; allowed: one or more values, each once"),
        ("a.b.c=[1, 2, 1]", "allowed: one or more values, each once"),
    ],
)
def test_a_line_that_means_nothing_is_refused_in_one_line(text: str, found: str) -> None:
    with pytest.raises(SearchError) as caught:
        dimension(text)
    assert found in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_param_may_stand_once() -> None:
    with pytest.raises(SearchError, match="found a.b.c twice"):
        space(["a.b.c=[1]", "a.b.c=[2]"])


def test_a_grid_is_every_combination_the_last_param_fastest() -> None:
    points = grid(space(["a.b.c=[x, [1, 2]]", "a.b.d=int(1, 2)"]))
    assert points == [
        {"a.b.c": '"x"', "a.b.d": 1},
        {"a.b.c": '"x"', "a.b.d": 2},
        {"a.b.c": "[1, 2]", "a.b.d": 1},
        {"a.b.c": "[1, 2]", "a.b.d": 2},
    ]
    with pytest.raises(SearchError, match=r"a.b.c: found log\(…\) with the method grid"):
        grid(space(["a.b.c=log(1, 2)"]))


def test_a_drawn_number_is_short_and_within_its_ends() -> None:
    trial: Any = optuna.trial.FixedTrial({"a.b.c": 0.12345678901})
    assert dimension("a.b.c=uniform(0, 1)").suggest(trial) == 0.123457
    assert dimension("a.b.c=uniform(0, 0.12345678902)").suggest(trial) == 0.12345678902


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-05, "k=1e-05"), ("gru", 'k="gru"'), (["a", 1], 'k=["a", 1]'), (True, "k=true"), (None, "k=null")],
)
def test_a_value_is_written_as_overrides_read_it(value: object, text: str) -> None:
    from stages.params_yaml import parse

    assert assignment("k", value) == text
    assert parse(text.partition("=")[2]) == value


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("forecast.train.learning_rat=log(1e-4, 1)", "forecast.train.learning_rat: no such param in params.yaml"),
        ("forecast.train.average=[0.5, 0.9]", "no such param in params.yaml; renamed to forecast.train.ema_decay"),
        ("forecast.evaluate.origins=int(1, 4)", "the training does not read this param; allowed: forecast.source"),
        ("sketch.train.epochs=int(1, 4)", "the training does not read this param"),
        ("forecast.train.monitor=[loss, quantile_error]", "it decides how trials are compared"),
        ("forecast.train.learning_rate=log(1e-4, 11)", "found 11.0; allowed: less than or equal to 10"),
        ("forecast.train.epochs=uniform(1, 4)", "found 1.0; allowed: a whole number"),
        ("forecast.model.kind=[gru, transformer]", "found 'transformer'; allowed: 'rnn', 'lstm'"),
    ],
)
def test_a_param_that_may_not_be_searched_so_is_refused_before_anything_runs(line: str, found: str) -> None:
    with pytest.raises((SearchError, ParamsError)) as caught:
        check(space([line]), read(), READ)
    assert found in str(caught.value)
    assert "\n" not in str(caught.value)


def test_params_that_may_be_searched() -> None:
    lines = ["forecast.train.learning_rate=log(1e-4, 1e-1)", "forecast.model.covariates=[[], [day_of_week]]"]
    before = read()
    params = read()
    check(space(lines), params, READ)
    assert params == before
