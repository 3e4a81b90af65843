from collections.abc import Mapping

from ...params import Block, EvaluateParams, Positive, PrepareParams, TaskParams


class Source(Block):
    count: Positive


class Prepare(PrepareParams):
    scale: float


class Model(Block):
    hidden_size: Positive


class Evaluate(EvaluateParams):
    pictures: bool


class Params(TaskParams):
    source: Source
    prepare: Prepare
    model: Model
    evaluate: Evaluate

    def baselines(self) -> Mapping[str, str]:
        return {"majority": "majority"}
