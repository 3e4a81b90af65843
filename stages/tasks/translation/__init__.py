from ..protocol import Description

DESCRIPTION = Description(
    model_name="translator",
    summary="A text's translation, by beam search.",
    metric="exact_match",
    dataset_task="translation",
)
