"""Downloads one file from the Hub into its cache, with resumption and a check of its digest.

The Hub's library restarts downloads from the beginning. Here its cache is filled, under the name it looks for, so that
an interrupted download is continued; the library then finds the complete file.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import typer
from huggingface_hub import constants, get_hf_file_metadata, get_token, hf_hub_download, hf_hub_url
from huggingface_hub.errors import OfflineModeIsEnabled
from huggingface_hub.file_download import http_get, repo_folder_name

from sdxl_gateway.catalog.model_files import fetched_file
from sdxl_gateway.cli.asking import stop

SHA256 = re.compile(r"[0-9a-f]{64}")
PARTIAL = ".partial"


def pull_file(hub_id: str, name: str) -> Path:
    """The file's path. Ends the command if its digest is not the Hub's. Raises what the Hub's library raises."""
    if constants.HF_HUB_OFFLINE:
        return _fetched_before(hub_id, name)
    url = hf_hub_url(hub_id, name)
    told = get_hf_file_metadata(url)
    blob = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=hub_id, repo_type="model"), "blobs", told.etag or "")
    if told.etag and SHA256.fullmatch(told.etag) and not blob.exists():
        _fill(blob, url, told.size)
    return Path(hf_hub_download(hub_id, name))


def _fetched_before(hub_id: str, name: str) -> Path:
    found = fetched_file(hub_id, name)
    if found is None:
        raise OfflineModeIsEnabled
    return found


def _fill(blob: Path, url: str, size_bytes: int | None) -> None:
    """Download the file to `blob`, whose name is the sha256 of its content."""
    partial = blob.with_name(blob.name + PARTIAL)
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.touch()
    come_bytes = partial.stat().st_size
    if come_bytes:
        typer.echo(f"{come_bytes / 2**20:.1f} MiB have come before; going on from there.")
    with partial.open("r+b") as file:
        file.seek(come_bytes)
        # From the Hub's own URL: a redirect to another host must not get the token.
        http_get(url, file, resume_size=come_bytes, headers=_headers(), expected_size=size_bytes)
    _check_digest(partial, blob.name)
    partial.rename(blob)


def _headers() -> dict[str, str]:
    token = get_token()
    return {} if token is None else {"authorization": f"Bearer {token}"}


def _check_digest(partial: Path, expected: str) -> None:
    with partial.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != expected:
        partial.unlink()
        stop(f"What came is not what the Hub has: its sha256 is {digest}, not {expected}. It was deleted; try again.")
    typer.echo(f"sha256 {digest}, as the Hub says.")
