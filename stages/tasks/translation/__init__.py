from .. import Description

DESCRIPTION = Description(
    model_name="translator",
    summary="A text's translation, by beam search.",
    metric="exact_match",
    higher_is_better=True,
    store="translation",
)
