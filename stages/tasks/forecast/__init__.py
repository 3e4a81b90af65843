from .. import Description

DESCRIPTION = Description(model_name="forecaster", metric="mae", higher_is_better=False)
