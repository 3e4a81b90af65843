"""`prepare.group`: what records share beside their class, such as a person; all of one stand on one side of the split.

It is a field's name, or a regular expression whose parentheses find the group in a text of the record.
"""

from __future__ import annotations

import re

REPAIR = (
    "no_group"  # what a record without one is counted under: it is split by itself, as where prepare.group is empty
)


def is_pattern(group: str) -> bool:
    """Whether it is a regular expression."""
    return "(" in group


def find_group(pattern: str, text: str) -> str | None:
    """What the parentheses match, None where that is nothing."""
    match = re.search(pattern, text)
    return (match.group(1) if match else None) or None
