"""What may stand under `forecast` in params.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ... import params
from ...params import AlarmParams, Block, Count, Dropout, Encoding, Positive, TaskParams

Name = Annotated[str, Field(min_length=1)]
Delimiter = Literal[",", ";", "\t", "|"]
SERVED_COLUMNS = {"unique_id", "ds", "y"}  # the registered model is asked with these
CLOSED_FORM_DAYS = 378  # of the past that the linear path in closed form reads, and so the most that is cleaned
NEEDED_QUANTILES = (0.05, 0.5, 0.95)  # the registered model answers with these


class SourceParams(Block):
    """Where the raw series come from."""

    kind: Literal["sample", "csv", "tsf"]
    url: str

    @model_validator(mode="after")
    def _has_address(self) -> SourceParams:
        if self.kind != "sample" and not self.url:
            raise ValueError(f"an address in source.url where source.kind is {self.kind}")
        return self


class PrepareParams(params.PrepareParams):
    """How the files are to be read, which repairs are made, and where each series is cut."""

    encoding: Encoding
    delimiter: Delimiter
    decimal: Literal[".", ","]
    thousands: Literal["", ",", ".", " ", "'"]
    date_columns: Annotated[list[Name], Field(min_length=1, max_length=3)]
    date_format: Annotated[str, Field(pattern="%")]
    value_columns: Annotated[list[Name], Field(min_length=1)]
    id_column: str
    known_columns: list[Name]
    past_columns: list[Name]
    holidays: Annotated[str, Field(pattern=r"^([A-Z]{2}(-[A-Z0-9]{1,3})?)?$")]
    duplicates: Literal["refuse", "first", "last", "mean", "sum"]
    max_gap_days: Count
    validation_days: Annotated[int, Field(ge=7)]
    test_days: Annotated[int, Field(ge=7)]

    @model_validator(mode="after")
    def _readable(self) -> PrepareParams:
        if self.decimal == self.thousands:
            raise ValueError(f"a thousands separator other than decimal, which is {self.decimal!r}")
        return self

    @model_validator(mode="after")
    def _distinct(self) -> PrepareParams:
        names = [*self.date_columns, *self.value_columns, *([self.id_column] if self.id_column else [])]
        names += [*self.known_columns, *self.past_columns]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(
                f"each column only once in date_columns, value_columns, id_column, known_columns and past_columns; "
                f"named twice: {twice}"
            )
        taken = sorted(SERVED_COLUMNS & {*self.known_columns, *self.past_columns})
        if taken:
            raise ValueError(f"names in known_columns and past_columns other than {taken}, which the model uses itself")
        return self


class ModelParams(Block):
    """The network, and what of a series it sees."""

    kind: Literal["rnn", "lstm", "gru", "conv_gru", "seq2seq"]
    decoding: Literal["direct", "recursive"]
    blend: Literal["none", "seasonal_naive"]
    members: Positive
    hidden_size: Positive
    layers: Positive
    channels: Positive
    kernel_size: Positive
    dropout: Dropout
    recurrent_dropout: Dropout
    layer_norm: bool
    truncation: Count
    context_days: Annotated[int, Field(ge=14)]
    scaling: Literal["window", "data", "none"]
    scale_days: Annotated[int, Field(ge=14)]
    covariates: list[Literal["day_of_week", "day_of_year", "holidays", "known_columns", "past_columns"]]
    holiday_days: Annotated[int, Field(ge=0, le=14)]
    last_year: bool
    linear: Literal["learned", "closed_form"]
    dates: bool
    quantiles: list[Annotated[float, Field(gt=0, lt=1)]]

    @field_validator("quantiles")
    @classmethod
    def _ascending(cls, quantiles: list[float]) -> list[float]:
        missing = [q for q in NEEDED_QUANTILES if q not in quantiles]
        lopsided = [q for q in quantiles if all(abs(q + other - 1) > 1e-9 for other in quantiles)]
        if missing or lopsided or quantiles != sorted(set(quantiles)):
            raise ValueError(
                "ascending numbers between 0 and 1, each once, 1 - q with each q, with 0.05, 0.5 and 0.95 among them"
            )
        return quantiles

    @field_validator("covariates")
    @classmethod
    def _each_once(cls, covariates: list[str]) -> list[str]:
        if len(set(covariates)) < len(covariates):
            raise ValueError("each covariate once")
        return covariates

    @model_validator(mode="after")
    def _closed_form_fits(self) -> ModelParams:
        if self.linear == "closed_form" and self.decoding == "recursive":
            raise ValueError("decoding direct where linear is closed_form, which forecasts all seven days at once")
        if self.linear == "closed_form" and self.context_days > CLOSED_FORM_DAYS:
            raise ValueError(
                f"context_days up to {CLOSED_FORM_DAYS} where linear is closed_form; it is {self.context_days}"
            )
        return self


class EvaluateParams(params.EvaluateParams):
    """The origins in the test days, and the baselines."""

    origins: Positive
    origin_step: Positive
    baselines: list[Literal["naive", "seasonal_naive", "autoets", "autotheta", "ridge", "lightgbm"]]
    autoets_days: Annotated[int, Field(ge=0)]
    processes: Positive
    baseline_minutes: Annotated[float, Field(ge=0)]


class MonitorParams(params.MonitorParams):
    """With the forecast store, and when the forecasts in it raise an alarm."""

    store: Annotated[str, Field(min_length=1)]
    alarm: AlarmParams


class Params(TaskParams):
    """The seven blocks under `forecast`."""

    source: SourceParams
    prepare: PrepareParams
    model: ModelParams
    evaluate: EvaluateParams
    monitor: MonitorParams

    def baselines(self) -> Mapping[str, str]:
        return {name: name for name in self.evaluate.baselines}

    def notes(self) -> list[str]:
        prepared = {name: getattr(self.prepare, name) for name in ("holidays", "known_columns", "past_columns")}
        return [
            f"prepare.{name}: found {value!r}, which the network would not use, since model.covariates does not "
            f"name {name}"
            for name, value in prepared.items()
            if value and name not in self.model.covariates
        ]
