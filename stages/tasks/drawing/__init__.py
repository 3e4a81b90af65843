from ..protocol import Description

DESCRIPTION = Description(
    model_name="sketch-generator",
    summary="A drawing of a given class, stroke by stroke.",
    metric="recognised",
    dataset_task="sketch",
)
