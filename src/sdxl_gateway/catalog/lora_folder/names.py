"""The names of LoRAs, which are paths of their files below the folder, without the extension.

A name must not contain a '+' or end like a weight, because both have a meaning in a model name. The names of new
files must also be valid on every file system and in every link to the folder. GET and DELETE look names up among
existing ones, so that an invalid name is one that does not exist.
"""

from __future__ import annotations

import re
import unicodedata

from sdxl_gateway.core.errors import InvalidRequest

SUFFIX = ".safetensors"
OTHER_WEIGHTS = (".pt", ".pth", ".bin", ".ckpt")
"""Other extensions of weights: pickles, which may run code when they are opened."""
MAX_NAME_CHARS = 200
MAX_DEPTH = 16
"""How many folders deep a LoRA may be."""
MAX_PART_BYTES = 128
"""With the extension this fits file systems with the shortest file names (eCryptfs: 143 bytes)."""
_ENDS_LIKE_WEIGHT = re.compile(r":\s*[+-]?(\d+(\.\d*)?|\.\d+)\s*\Z")
_FORBIDDEN = frozenset('\\:*?"<>|')
_DEVICE_NAMES = frozenset({"con", "prn", "aux", "nul", *(f"{d}{i}" for d in ("com", "lpt") for i in range(1, 10))})


def has_suffix(name: str) -> bool:
    """Whether the file is a LoRA by its name, in any case."""
    return name[-len(SUFFIX) :].lower() == SUFFIX


def without_suffix(name: str) -> str:
    """The name without the extension of a LoRA file, if it has it."""
    return name[: -len(SUFFIX)] if has_suffix(name) else name


def without_weight(name: str) -> str:
    """The name without an ending that looks like a weight."""
    return _ENDS_LIKE_WEIGHT.sub("", name)


def place_name(place: str) -> str:
    """The name of the file or folder at `place` below the folder: no extension, normalized Unicode."""
    return one_spelling(without_suffix(place))


def one_spelling(name: str) -> str:
    """The name in Unicode's NFC: clients and file systems differ in how they spell letters with accents."""
    return unicodedata.normalize("NFC", name)


def check_name(name: str) -> None:
    """Raises InvalidRequest for a name that could not be asked for, or would mean something else."""
    if len(name) > MAX_NAME_CHARS:
        raise _refused(f"The name is longer than {MAX_NAME_CHARS} characters; rename the file.")
    if not name.isprintable() or not name.strip() or name != name.strip():
        raise _refused("The name has characters that cannot be shown, or begins or ends with a space; rename it.")
    if "+" in name or _ENDS_LIKE_WEIGHT.search(name):
        raise _refused("The name holds a '+' or ends like a weight (':0.8'), which mean something; rename it.")


def check_new_name(name: str) -> None:
    """As `check_name`, for a new file: plain file names separated by "/"; the extension may be left out.

    Raises InvalidRequest naming "name".
    """
    plain = without_suffix(name)
    if plain.count("/") >= MAX_DEPTH:
        raise _refused(f"A name has at most {MAX_DEPTH} parts.")
    for part in plain.split("/"):
        _check_part(part)
    check_name(plain)
    if any(len(part.encode()) > MAX_PART_BYTES for part in plain.split("/")):
        raise _refused(f"Each part of a name has at most {MAX_PART_BYTES} bytes.")


def _check_part(part: str) -> None:
    if not part or part.startswith(".") or part.endswith((".", " ")) or _FORBIDDEN & set(part):
        raise _refused("A name is made of plain file names, separated by '/'.")
    if part.partition(".")[0].casefold() in _DEVICE_NAMES:
        raise _refused("A name cannot be that of a device.")


def _refused(message: str) -> InvalidRequest:
    return InvalidRequest(message, param="name")


def shown_name(name: str) -> str:
    """The name, escaped for a log or an answer."""
    escaped = name.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in escaped)[:MAX_NAME_CHARS]
