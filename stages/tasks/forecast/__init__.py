from ..protocol import Description

DESCRIPTION = Description(
    model_name="forecaster",
    summary="The next seven days of daily series, with a 90 % band.",
    metric="mae",
    dataset_task="forecast",
)
