from ...params import Block, Positive, PrepareParams, TaskParams


class Source(Block):
    count: Positive


class Prepare(PrepareParams):
    scale: float


class Model(Block):
    hidden_size: Positive


class Evaluate(Block):
    pictures: bool


class Params(TaskParams):
    source: Source
    prepare: Prepare
    model: Model
    evaluate: Evaluate
