"""Labels to drawings: another network that learns from the data of `sketch`.

The description below is what users see: the registered model's name and the metric that the gate judges by. Whoever
changes either leaves the versions of before behind.
"""

from ..protocol import Description

DESCRIPTION = Description(
    model_name="sketch-generator",
    summary="A drawing of a given class, stroke by stroke.",
    metric="recognised",
    dataset_task="sketch",
)
