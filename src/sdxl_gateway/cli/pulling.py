"""Takes a Hub id, gives the fetched diffusers folder, or one file of it; weights come as safetensors only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from sdxl_gateway.cli.asking import HUB_FILE, HUB_ID, stop
from sdxl_gateway.config import DEMO_MODEL, Settings

PATTERNS = ["*.json", "*.txt", "*.safetensors"]
"""Never a pickle, never Python code."""
ALTERNATIVES = ["*.fp16.*", "*.non_ema.*", "sd_xl_*"]
"""Other forms of the same weights, which would double the download."""


def run(hub_id: str) -> None:
    """Fetches the checkpoint into the Hub's cache. Exits with a sentence on stderr when it cannot."""
    if not (HUB_ID.fullmatch(hub_id) or HUB_FILE.fullmatch(hub_id)):
        stop(f"'{hub_id}' is not a Hub id; those look like org/name, or org/name:file.safetensors.", status=2)
    typer.echo(f"{hub_id} lies in {pull(hub_id)}")


def pull_if_missing(settings: Settings, model: str) -> None:
    """Fetch `model` first where it is a Hub id that was not fetched yet."""
    from sdxl_gateway.catalog.model_files import resolve_model
    from sdxl_gateway.core.errors import CheckpointProblem

    section = settings.checkpoints.get(model)
    if section is None or not (HUB_ID.fullmatch(section.path) or HUB_FILE.fullmatch(section.path)):
        return
    try:
        resolve_model(section.path, DEMO_MODEL)
    except CheckpointProblem:
        pull(section.path)


def pull(hub_id: str) -> Path:
    """Fetch or complete the folder or file, with a progress bar; ends the command plainly where it cannot."""
    from huggingface_hub import snapshot_download

    typer.echo(f"Fetching {hub_id} from the Hugging Face Hub.")
    with _plainly(hub_id):
        if found := HUB_FILE.fullmatch(hub_id):
            from sdxl_gateway.cli.pulling_file import pull_file

            return pull_file(found[1], found[2])
        return Path(snapshot_download(hub_id, allow_patterns=PATTERNS, ignore_patterns=ALTERNATIVES))


@contextmanager
def _plainly(hub_id: str) -> Iterator[None]:
    import httpx2
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    try:
        yield
    except RepositoryNotFoundError:
        stop(f"The Hub has no model '{hub_id}', or it needs a token: set HF_TOKEN.")
    except (LocalEntryNotFoundError, OfflineModeIsEnabled):
        stop(f"The Hugging Face Hub cannot be reached, and '{hub_id}' was not fetched before.")
    except EntryNotFoundError:
        stop(f"The Hub has no file '{hub_id}'.")
    except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
        stop(f"Fetching '{hub_id}' failed: {type(error).__name__}. Try again; what has come is kept.")
