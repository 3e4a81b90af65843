from .. import Description

DESCRIPTION = Description(model_name="translator", metric="exact_match", higher_is_better=True)
