"""The smallest task there can be: is the sum of a sequence of numbers positive?"""

from .. import Description

DESCRIPTION = Description(
    model_name="toy-classifier",
    summary="Whether the sum of a sequence of numbers is positive.",
    metric="accuracy",
    higher_is_better=True,
    store="toy",
)
