"""The smallest task there can be: is the sum of a sequence of numbers positive?

Nothing in it is annotated or bounded as a real task's parts would be; it shows what the protocol asks for.
"""

from ..protocol import Description

DESCRIPTION = Description(
    model_name="toy-classifier",
    summary="Whether the sum of a sequence of numbers is positive.",
    metric="accuracy",
    dataset_task="toy",
)
