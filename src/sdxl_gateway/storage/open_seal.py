"""Takes the keys of `[encryption]`, gives the Seal by which prompts and uploads are encrypted, if there are any."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import SecretStr

from sdxl_gateway.core.errors import StartProblem
from sdxl_gateway.core.files import write_whole
from sdxl_gateway.storage.directory import usable
from sdxl_gateway.storage.seal import Seal

KEY_BYTES = 32
MARK_NAME = "seal.json"
MAKE_ONE = "make one with `openssl rand -base64 32`"


class SealProblem(StartProblem):
    """A key is unusable, or one is missing by which data is encrypted; the text is for the operator."""


def open_seal(keys: Sequence[SecretStr], data_directory: Path) -> Seal:
    """The first key encrypts, all decrypt. Raises SealProblem, also when data is encrypted by a missing key."""
    known = [_key(key, place) for place, key in enumerate(keys, 1)]
    if not known:
        _refuse_missing(data_directory, [])
        return Seal()
    try:
        from sdxl_gateway.storage.sealed import AesSeal
    except ImportError as problem:
        raise SealProblem("encryption.secrets: needs the extra: pip install 'sdxl-gateway[encryption]'") from problem
    seal = AesSeal(known)
    _refuse_missing(data_directory, seal.key_ids)
    _remember(data_directory, seal.key_ids[0])
    return seal


def _key(given: SecretStr, place: int) -> bytes:
    try:
        key = base64.b64decode(given.get_secret_value(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise SealProblem(f"encryption.secrets: number {place} is not {KEY_BYTES} bytes in base64; {MAKE_ONE}.")
    return key


def _refuse_missing(data_directory: Path, key_ids: Sequence[str]) -> None:
    missing = [key_id for key_id in _remembered(data_directory) if key_id not in key_ids]
    if missing:
        given = f"those given are {', '.join(key_ids)}" if key_ids else "none is given"
        raise SealProblem(
            f"encryption.secrets: what lies in {data_directory.absolute()} is sealed with the key {', '.join(missing)},"
            f" and {given}. Put that key behind the first one; or, if what it sealed is given up, take it out of"
            f" {MARK_NAME} there."
        )


def _remembered(data_directory: Path) -> list[str]:
    """The ids of the keys by which data in that directory may be encrypted."""
    path = data_directory / MARK_NAME
    if not path.exists():
        return []
    try:
        return [str(key_id) for key_id in json.loads(path.read_text("utf-8"))["keys"]]
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise SealProblem(f"encryption.secrets: {path.absolute()} cannot be read.") from problem


def _remember(data_directory: Path, key_id: str) -> None:
    """Note the key, before anything is encrypted with it."""
    known = _remembered(data_directory)
    if key_id in known:
        return
    with usable(data_directory):
        data_directory.mkdir(parents=True, exist_ok=True)
        write_whole(data_directory / MARK_NAME, [json.dumps({"keys": [*known, key_id]}).encode()], 0o600)
