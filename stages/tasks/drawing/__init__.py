from .. import Description

DESCRIPTION = Description(
    model_name="sketch-generator",
    summary="A drawing of a given class, stroke by stroke.",
    metric="recognised",
    higher_is_better=True,
    store="sketch",
)
