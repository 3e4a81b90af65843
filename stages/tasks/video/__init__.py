"""Clips to labels: a network over frames and one over time.

The description below is what users see: the registered model's name and the metric that the gate judges by. Whoever
changes either leaves the versions of before behind.
"""

from ..protocol import Description

DESCRIPTION = Description(
    model_name="video-classifier",
    summary="What happens in a clip, from its frames in order.",
    metric="accuracy",
    dataset_task="video",
)
