"""Downloads a diffusers folder, or one file, from the Hugging Face Hub; weights as safetensors only.

For an engine that paints in float16, the UNet and the text encoders are downloaded in float16 if the Hub has them, at
half the size. The VAE, which runs in another format, is downloaded in the highest precision available.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

import typer

from sdxl_gateway.catalog.model_files import COMPONENTS
from sdxl_gateway.cli.asking import HUB_FILE, HUB_ID, settings_for, stop
from sdxl_gateway.config import DEMO_MODEL, Engine, Settings
from sdxl_gateway.telemetry.device import driver_found

PATTERNS = ["*.json", "*.txt", "*.safetensors"]
"""Never a pickle, never Python code."""
ALTERNATIVES = ["*.fp16.*", "*.non_ema.*", "sd_xl_*"]
"""Other forms of the same weights, which would double the download."""


HALF, WEIGHTS = ".fp16", ".safetensors"


def run(hub_id: str, half: bool | None = None) -> None:
    """Downloads the checkpoint into the Hub's cache, in float16 if requested, or by the settings.

    Exits with a sentence on stderr if it fails.
    """
    if not (HUB_ID.fullmatch(hub_id) or HUB_FILE.fullmatch(hub_id)):
        stop(f"'{hub_id}' is not a Hub id; those look like org/name, or org/name:file.safetensors.", status=2)
    half = paints_in_half(settings_for(None, None, None).engine) if half is None else half
    typer.echo(f"{hub_id} lies in {pull(hub_id, half=half)}")


def pull_if_missing(settings: Settings, model: str) -> None:
    """Download `model` if it is a Hub id that was not downloaded yet."""
    from sdxl_gateway.catalog.model_files import resolve_model
    from sdxl_gateway.core.errors import CheckpointProblem

    section = settings.checkpoints.get(model)
    if section is None or not (HUB_ID.fullmatch(section.path) or HUB_FILE.fullmatch(section.path)):
        return
    try:
        resolve_model(section.path, DEMO_MODEL)
    except CheckpointProblem:
        pull(section.path, half=paints_in_half(settings.engine))


def paints_in_half(engine: Engine) -> bool:
    """Whether the engine paints in float16, as far as the settings alone tell, without opening the device."""
    if engine.dtype != "auto" or engine.device == "cpu":
        return engine.dtype == "float16"
    return driver_found() or sys.platform == "darwin"


def pull(hub_id: str, *, half: bool) -> Path:
    """Download or complete the folder or file, with a progress bar; ends the command with a sentence if it fails."""
    from huggingface_hub import HfApi, constants, snapshot_download

    typer.echo(f"Fetching {hub_id} from the Hugging Face Hub.")
    with _plainly(hub_id):
        if found := HUB_FILE.fullmatch(hub_id):
            from sdxl_gateway.cli.pulling_file import pull_file

            return pull_file(found[1], found[2])
        if half and not constants.HF_HUB_OFFLINE:
            return Path(snapshot_download(hub_id, allow_patterns=in_half(HfApi().list_repo_files(hub_id))))
        return Path(snapshot_download(hub_id, allow_patterns=PATTERNS, ignore_patterns=ALTERNATIVES))


def in_half(files: Sequence[str]) -> list[str]:
    """The files of a repository to download: of a component with float16 weights only those."""
    asked = [name for name in files if _any(name, PATTERNS) and not _any(name, ALTERNATIVES)]
    for component in COMPONENTS:
        own = [name for name in files if name.startswith(f"{component}/") and HALF in name]
        if any(name.endswith(WEIGHTS) for name in own):
            asked = [name for name in asked if not (name.startswith(f"{component}/") and WEIGHTS in name)]
            asked += [name for name in own if _any(name, PATTERNS)]
    return asked


def _any(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


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
