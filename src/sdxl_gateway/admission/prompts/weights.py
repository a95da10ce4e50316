"""Takes a prompt, says whether it holds weights as other tools write them, which are words here."""

from __future__ import annotations

import re

_NUMBER = r"[ \t]{0,8}[+-]?([0-9]{1,8}(\.[0-9]{0,8})?|\.[0-9]{1,8})[ \t]{0,8}"
_WEIGHTED = re.compile(rf"\([^()]*:{_NUMBER}\)|\[[^\[\]]*:{_NUMBER}\]")


def weight_warning(text: str, field: str) -> tuple[str, ...]:
    """A word about `(red:1.3)` and `[red:blue:0.5]` in that field; none where there are none."""
    if not _WEIGHTED.search(text):
        return ()
    return (f"Weights in the {field}, such as (word:1.3), have no effect: they are read as words.",)
