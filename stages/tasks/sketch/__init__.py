"""Drawings to labels: convolutions over time and a bidirectional recurrent network.

The description below is what users see: the registered model's name and the metric that the gate judges by. Whoever
changes either leaves the versions of before behind.
"""

from ..protocol import Description

DESCRIPTION = Description(
    model_name="sketch-classifier",
    summary="What a drawing shows, from its strokes.",
    metric="accuracy",
    dataset_task="sketch",
)
