"""Takes a prompt and the syntax it is to be read in, refuses what cannot be read so, naming the field."""

from __future__ import annotations

from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.prompt_syntax import PromptSyntaxError, read_prompt


def check_prompt(text: str, syntax: str, *, param: str) -> None:
    """Raises InvalidRequest naming `param`."""
    try:
        read_prompt(text, syntax)
    except PromptSyntaxError as problem:
        message = f"Invalid '{param}': {problem}; 'prompt_syntax': 'plain' reads it as words."
        raise InvalidRequest(message, param=param) from problem
