"""What may stand under `translation` in params.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from ... import params
from ...params import (
    AdditionalParams,
    Block,
    Count,
    Dropout,
    Encoding,
    Fraction,
    Positive,
    SplitShare,
    TaskParams,
    check_group,
)

LARGEST_BEAM, LONGEST_TRANSLATION, LARGEST_LENGTH_PENALTY = 32, 1000, 2.0  # also of the registered model

Language = Annotated[str, Field(pattern="^[A-Za-z]{2,8}(_[A-Za-z]{2,8})?$")]


class SourceParams(AdditionalParams):
    """Which pairs to fetch, or how many to make."""

    kind: Literal["sample", "multi30k", "tatoeba", "tsv"]
    url: str
    source_language: Language
    target_language: Language
    pairs: Annotated[int, Field(ge=100, le=1_000_000)]
    seed: Count

    @model_validator(mode="after")
    def _can_be_found(self) -> SourceParams:
        if self.kind == "tsv" and not self.url:
            raise ValueError("an address in source.url where source.kind is tsv")
        if self.kind != "sample" and self.source_language == self.target_language:
            raise ValueError(f"two languages; source_language and target_language are both {self.source_language!r}")
        if self.kind == "multi30k" and self.also_test:
            raise ValueError("also_test false where kind is multi30k: its publisher holds out the test set")
        return self


class PrepareParams(params.PrepareParams):
    """How pairs become tokens, and which pairs measure what was learned."""

    encoding: Encoding
    tokenizer: Literal["character", "subword"]
    shared_vocabulary: bool
    vocabulary_size: Annotated[int, Field(ge=16, le=64_000)]
    max_source_tokens: Positive
    max_target_tokens: Positive
    split_by: Literal["source", "target"]
    group: Annotated[str, AfterValidator(partial(check_group, field="column_3", field_words="column_3"))]
    validation_share: SplitShare
    test_share: SplitShare
    seed: Count


class ModelParams(Block):
    """The network, and how its loss is smoothed."""

    kind: Literal["rnn", "transformer"]
    cell: Literal["lstm", "gru"]
    embedding_size: Positive
    hidden_size: Annotated[int, Field(ge=2, multiple_of=2)]
    encoder_layers: Positive
    decoder_layers: Positive
    attention: Literal["none", "additive", "general", "dot"]
    input_feeding: bool
    heads: Annotated[int, Field(ge=1, le=64)]
    feedforward_size: Positive
    tied_embeddings: Literal["none", "target", "all"]
    dropout: Dropout
    recurrent_dropout: Dropout
    layer_norm: bool
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    scheduled_sampling: Fraction

    @model_validator(mode="after")
    def _fits(self) -> ModelParams:
        if self.input_feeding and self.attention == "none":
            raise ValueError("an attention (additive, general, dot) where input_feeding is true; attention is none")
        if self.kind == "transformer" and self.hidden_size % self.heads:
            raise ValueError(f"heads that divide hidden_size; heads is {self.heads}, hidden_size {self.hidden_size}")
        return self


class EvaluateParams(params.EvaluateParams):
    """How translations are searched for on the test split, and by which metric they are judged."""

    metric: Literal["exact_match", "bleu", "chrf"]
    beam_size: Annotated[int, Field(ge=1, le=LARGEST_BEAM)]
    max_length: Annotated[int, Field(ge=1, le=LONGEST_TRANSLATION)]
    length_penalty: Annotated[float, Field(ge=0, le=LARGEST_LENGTH_PENALTY)]
    batch_size: Positive
    pictures: Annotated[int, Field(ge=1, le=20)]


class Params(TaskParams):
    """The seven blocks of the task."""

    source: SourceParams
    prepare: PrepareParams
    model: ModelParams
    evaluate: EvaluateParams

    def baselines(self) -> Mapping[str, str]:
        return {"copy": "copy", "nearest": "nearest"}

    @model_validator(mode="after")
    def _share_a_vocabulary(self) -> Params:
        if self.model.tied_embeddings == "all" and not self.prepare.shared_vocabulary:
            raise ValueError(
                "none, target as model.tied_embeddings where prepare.shared_vocabulary is false; it is all"
            )
        return self
