from .. import Description

DESCRIPTION = Description(model_name="sketch-classifier", metric="accuracy", higher_is_better=True)
