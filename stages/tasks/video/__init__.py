"""Video: clips to classes."""

from ..protocol import Description

DESCRIPTION = Description(
    model_name="video-classifier",
    summary="What happens in a clip, from its frames in order.",
    metric="accuracy",
    dataset_task="video",
)
