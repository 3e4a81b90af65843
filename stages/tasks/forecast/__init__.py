"""Daily series to their next seven days, with quantiles.

The description below is what users see: the registered model's name and the metric that the gate judges by. Whoever
changes either leaves the versions of before behind.
"""

from ..protocol import Description

DESCRIPTION = Description(
    model_name="forecaster",
    summary="The next seven days of daily series, with a 90 % band.",
    metric="mae",
    dataset_task="forecast",
)
