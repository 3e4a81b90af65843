from ..protocol import Description

DESCRIPTION = Description(
    model_name="sketch-classifier",
    summary="What a drawing shows, from its strokes.",
    metric="accuracy",
    dataset_task="sketch",
)
