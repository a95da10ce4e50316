"""Checks that a prompt can be parsed in its syntax."""

from __future__ import annotations

from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.prompt_syntax import PromptSyntaxError, read_prompt


def check_prompt(text: str, syntax: str, *, param: str) -> None:
    """Raises InvalidRequest naming `param` if the text cannot be parsed in that syntax."""
    try:
        read_prompt(text, syntax)
    except PromptSyntaxError as problem:
        message = f"Invalid '{param}': {problem}; 'prompt_syntax': 'plain' reads it as words."
        raise InvalidRequest(message, param=param) from problem
