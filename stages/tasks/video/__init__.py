from .. import Description

DESCRIPTION = Description(model_name="video-classifier", metric="accuracy", higher_is_better=True)
