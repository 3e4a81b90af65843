from .. import Description

DESCRIPTION = Description(
    model_name="video-classifier",
    summary="What happens in a clip, from its frames in order.",
    metric="accuracy",
    higher_is_better=True,
    store="video",
)
