from .. import Description

DESCRIPTION = Description(
    model_name="forecaster",
    summary="The next seven days of daily series, with a 90 % band.",
    metric="mae",
    higher_is_better=False,
    store="forecast",
)
