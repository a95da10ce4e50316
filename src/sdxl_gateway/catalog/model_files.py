"""Reads a model's folder: its safetensors files, the shapes of its modules and its fingerprint, without torch."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from sdxl_gateway.catalog.safetensors_header import Header, read_header
from sdxl_gateway.config import HeaderCaps
from sdxl_gateway.core.errors import AdapterRefused, CheckpointProblem

UNET, TEXT, TEXT_2, VAE = "unet", "text_encoder", "text_encoder_2", "vae"
TEXT_ENCODERS = (TEXT, TEXT_2)
TOKENIZERS = {TEXT: "tokenizer", TEXT_2: "tokenizer_2"}
COMPONENTS = (UNET, *TEXT_ENCODERS)
"""The components of a checkpoint that a LoRA may change, named as their folders."""

MODEL_INDEX = "model_index.json"

TEXT_LEVEL = "text_model"
"""A level in the module names of text encoders, which published files have, and newer transformers leave out."""

HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*(:.+)?")
"""What may be the name of a repository on the Hub, or of one of its files."""

DEMO = "demo"

CHECKPOINT_CAPS = HeaderCaps(max_header_bytes=64 * 2**20, max_tensors=100_000)

_SAMPLE_BYTES = 64 * 2**10

_SAMPLES = 16

_VARIANT = re.compile(r"\.(fp16|bf16|non_ema)[.-]")


def resolve_model(path: str, demo: Path) -> Path:
    """The folder or single file that is meant by "demo", a local path, or the name of a model fetched from the Hub.

    On the Hub "org/name" is a folder and "org/name:file.safetensors" one of its files. Raises CheckpointProblem.
    """
    if path == DEMO:
        return demo
    local = Path(path).expanduser()
    if local.is_dir():
        return local.resolve()
    if local.is_file():
        # Not resolved: a file fetched from the Hub is a link to a blob whose name says nothing.
        return local.absolute()
    fetched = fetched_file(*path.split(":", 1)) if ":" in path else _fetched_snapshot(path)
    if fetched is None:
        if not HUB_NAME.fullmatch(path):
            raise CheckpointProblem(f"'{path}' is neither a folder nor a file.")
        raise CheckpointProblem(
            f"'{path}' is neither a folder nor a file nor a fetched Hub model; `sdxl-gateway pull {path}` fetches one."
        )
    return fetched


def resolve_folder(path: str, demo: Path) -> Path:
    """As `resolve_model`, but it must be a folder. Raises CheckpointProblem."""
    found = resolve_model(path, demo)
    if not found.is_dir():
        raise CheckpointProblem(f"'{path}' is not a folder.")
    return found


def fetched_file(hub_id: str, name: str) -> Path | None:
    """One file of a Hub repository, if it was fetched earlier."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(hub_id, name)
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None


def _fetched_snapshot(hub_id: str) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub_id, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None


def components_of(folder: Path) -> tuple[str, ...]:
    """Those of COMPONENTS that the folder's index has: a refiner has one text encoder, the second."""
    try:
        index = json.loads((folder / MODEL_INDEX).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointProblem(f"'{MODEL_INDEX}' is missing or not readable.") from error
    return tuple(name for name in COMPONENTS if index.get(name) != [None, None])


def module_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Weight shape by component-prefixed module name, from the safetensors headers alone."""
    return dict(_shapes(folder))


def _shapes(folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    for component in components_of(folder):
        for header in headers(folder / component):
            for key, tensor in header.tensors.items():
                if key.endswith(".weight"):
                    yield published_name(component, key.removesuffix(".weight")), tensor.shape


def published_name(component: str, module: str) -> str:
    """The component-prefixed name of a module or parameter in published files, however the library names it."""
    if component != UNET and module.startswith(("encoder.", "embeddings.", "final_layer_norm")):
        return f"{component}.{TEXT_LEVEL}.{module}"
    return f"{component}.{module}"


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of one component: the plain ones if there are also variants (fp16)."""
    found = sorted(folder.glob("*.safetensors"))
    plain = [path for path in found if not _VARIANT.search(path.name)]
    return plain or found


def headers(folder: Path) -> Iterator[Header]:
    """The headers of one component's weight files. Raises CheckpointProblem for broken ones, or when there are none."""
    files = weight_files(folder)
    if not files:
        raise CheckpointProblem(f"No .safetensors weights in '{folder.name}/'.")
    yield from headers_of(files)


def headers_of(files: Iterable[Path]) -> Iterator[Header]:
    """The headers of a component's files. Raises CheckpointProblem for broken ones."""
    for path in files:
        try:
            yield read_header(path, CHECKPOINT_CAPS)
        except AdapterRefused as error:
            raise CheckpointProblem(f"'{path.parent.name}/{path.name}': {error.message}") from error


def fingerprint(folder: Path) -> str:
    """A sha256 over the configs and evenly spaced samples of the weights: a few milliseconds for 7 GB."""
    kinds = {".json", ".safetensors", ".txt"}
    return files_fingerprint((path for path in folder.rglob("*") if path.suffix in kinds and path.is_file()), folder)


def files_fingerprint(files: Iterable[Path], folder: Path) -> str:
    """As `fingerprint`, of some files of a folder."""
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.relative_to(folder).as_posix().encode())
        _update_with_samples(digest, path)
    return digest.hexdigest()


def file_fingerprint(path: Path) -> str:
    """As `fingerprint`, of a single file, independent of its name."""
    digest = hashlib.sha256()
    _update_with_samples(digest, path)
    return digest.hexdigest()


def sampled(size_bytes: int) -> list[range]:
    """The ranges of a file of that size that its fingerprint is computed from, in order."""
    if size_bytes <= _SAMPLES * _SAMPLE_BYTES:
        return [range(size_bytes)]
    starts = ((size_bytes - _SAMPLE_BYTES) * i // (_SAMPLES - 1) for i in range(_SAMPLES))
    return [range(start, start + _SAMPLE_BYTES) for start in starts]


def _update_with_samples(digest: hashlib._Hash, path: Path) -> None:
    size = path.stat().st_size
    digest.update(size.to_bytes(8, "little"))
    with path.open("rb") as file:
        for sample in sampled(size):
            file.seek(sample.start)
            digest.update(file.read(len(sample)))
