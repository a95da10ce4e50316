"""Warns of weights in a prompt which, in the syntax in force, are plain words."""

from __future__ import annotations

import re

_NUMBER = r"[ \t]{0,8}[+-]?([0-9]{1,8}(\.[0-9]{0,8})?|\.[0-9]{1,8})[ \t]{0,8}"
_WEIGHTED = re.compile(rf"\([^()]*:{_NUMBER}\)|\[[^\[\]]*:{_NUMBER}\]")


def weight_warning(text: str, field: str) -> tuple[str, ...]:
    """A warning about `(red:1.3)` or `[red:blue:0.5]` in that field; empty if there are none."""
    if not _WEIGHTED.search(text):
        return ()
    return (f"Weights in the {field}, such as (word:1.3), have no effect: they are read as words.",)
