from .. import Description

DESCRIPTION = Description(
    model_name="sketch-classifier",
    summary="What a drawing shows, from its strokes.",
    metric="accuracy",
    higher_is_better=True,
    store="sketch",
)
