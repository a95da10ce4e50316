"""Opens the configured checkpoints: their paths, fingerprints and module shapes, without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sdxl_gateway.catalog.ip_adapters import IpAdapterFile, open_ip_adapter
from sdxl_gateway.catalog.model_files import file_fingerprint, fingerprint, module_shapes, resolve_folder, resolve_model
from sdxl_gateway.catalog.single_file.layout import CONFIGS, check_sdxl, check_vae
from sdxl_gateway.catalog.single_file.names import file_shapes
from sdxl_gateway.catalog.single_file.read import V_PREDICTION, read_single_file
from sdxl_gateway.config import Checkpoint, IpAdapter
from sdxl_gateway.core.errors import CheckpointProblem

PIPELINES = ("StableDiffusionXLPipeline", "StableDiffusionXLInpaintPipeline", "StableDiffusionXLImg2ImgPipeline")
SDXL_SAMPLE_SIZE = 128
LARGEST_SAMPLE_SIZE = 2**16
VAE_FACTOR = 8
NATIVE_BUDGET = 1.55
"""The largest area, as a multiple of the training area, that SDXL still paints well: 1.6 of 1.05 megapixels."""

NOTHING_SAID = Checkpoint(path="")


@dataclass(frozen=True, slots=True)
class CheckpointEntry:
    """A checkpoint of the SDXL family; `path` is a diffusers folder or a single file.

    `shapes` maps component-prefixed module names ("unet.conv_in", "text_encoder.text_model.…") to the shape of
    their weight; `native_area` is the training area in pixels, `native_pixels` the largest area painted directly;
    `embeds_guidance` says that the UNet was distilled to read the guidance scale as an input, `refines` that it is a
    refiner, trained for the last steps only: it starts from pictures, or takes over from another checkpoint. `section`
    is the checkpoint's section of the settings; `ip_adapter` is the IP-Adapter that is used with it.
    """

    name: str
    path: Path
    digest: str
    created: int
    shapes: Mapping[str, tuple[int, ...]]
    native_area: int
    native_pixels: int
    embeds_guidance: bool = False
    refines: bool = False
    section: Checkpoint = NOTHING_SAID
    ip_adapter: IpAdapterFile | None = None

    @property
    def places(self) -> tuple[Path, ...]:
        """The file or, for a folder, everything in it."""
        return tuple(sorted(self.path.rglob("*"))) if self.path.is_dir() else (self.path,)


def open_checkpoints(checkpoints: Mapping[str, Checkpoint], demo: Path) -> dict[str, CheckpointEntry]:
    """All checkpoints, by name. Raises CheckpointProblem for the first that cannot be used."""
    opened = {name: open_checkpoint(name, section, demo) for name, section in checkpoints.items()}
    for name, section in checkpoints.items():
        refiner = opened.get(section.refiner or name)
        if section.refiner is not None and (refiner is None or not refiner.refines):
            raise CheckpointProblem(f"Checkpoint '{name}': '{section.refiner}' is none of the refiners here.")
    return opened


def with_ip_adapter(checkpoints: Mapping[str, CheckpointEntry], section: IpAdapter) -> dict[str, CheckpointEntry]:
    """The checkpoints; those that the configured IP-Adapter fits have it.

    Raises CheckpointProblem for an adapter that fits none, or cannot be used.
    """
    if not section.path:
        return dict(checkpoints)
    adapter = open_ip_adapter(section)
    misfits = {name: adapter.misfit(entry.shapes) for name, entry in checkpoints.items()}
    if all(misfits.values()):
        raise CheckpointProblem(f"ip_adapter.path: {next(iter(misfits.values()))}")
    return {name: fitted(entry, adapter) for name, entry in checkpoints.items()}


def fitted(entry: CheckpointEntry, adapter: IpAdapterFile | None) -> CheckpointEntry:
    """The entry with the adapter if it fits, or else with none; the same object if nothing changes."""
    fitting = adapter if adapter is not None and not adapter.misfit(entry.shapes) else None
    return entry if entry.ip_adapter is fitting else replace(entry, ip_adapter=fitting)


def open_checkpoint(name: str, section: Checkpoint, demo: Path) -> CheckpointEntry:
    """The checkpoint of one `[checkpoints.*]` section; `demo` is the demo model's folder.

    Raises CheckpointProblem for what does not exist or is not of the SDXL family, for a folder that includes Python
    code, and for a file that is truncated, a pickle, or without a VAE if `section` names none.
    """
    try:
        path = resolve_model(section.path, demo)
    except CheckpointProblem as problem:
        raise CheckpointProblem(f"checkpoints.{name}.path: {problem}") from None
    _check_vae_file(section, demo)
    return _open_folder(name, section, path) if path.is_dir() else _open_file(name, section, path, demo)


def checkpoint_shapes(path: Path) -> Mapping[str, tuple[int, ...]]:
    """The module shapes of a checkpoint's folder or single file. Raises CheckpointProblem."""
    return module_shapes(path) if path.is_dir() else file_shapes(read_single_file(path))


def config_folder(section: Checkpoint, path: Path, demo: Path) -> Path:
    """The folder of a single file's configs: the one its section names, or the package's own for SDXL or its refiner.

    For a checkpoint's folder it is `path` itself. Raises CheckpointProblem.
    """
    if path.is_dir():
        return path
    own = None if section.config is None else resolve_folder(section.config, demo)
    return own or CONFIGS[read_single_file(path).family]


def scheduler_changes(section: Checkpoint, path: Path) -> dict[str, Any]:
    """Keys that override a checkpoint's scheduler config: from its section, or else from the metadata of its file.

    With zero terminal SNR sampling starts at the last timestep: https://arxiv.org/abs/2305.08891. Raises
    CheckpointProblem.
    """
    file = None if path.is_dir() else read_single_file(path)
    prediction = section.prediction_type or (file and file.prediction)
    zero_snr = section.zero_snr
    if zero_snr is None and file is not None and file.zero_snr and prediction == V_PREDICTION:
        zero_snr = True
    found: dict[str, Any] = {} if prediction is None else {"prediction_type": prediction}
    found |= {} if zero_snr is None else {"rescale_betas_zero_snr": zero_snr}
    return found | ({"timestep_spacing": "trailing"} if zero_snr else {})


def _open_file(name: str, section: Checkpoint, path: Path, demo: Path) -> CheckpointEntry:
    file = read_single_file(path)
    check_sdxl(file, own_config=section.config is not None)
    if not file.has_vae and section.vae is None:
        raise CheckpointProblem(
            f"Checkpoint '{name}': '{path.name}' holds no VAE; set its `vae` to the folder or file of one."
        )
    configs = config_folder(section, path, demo)
    if bool(_read_json(configs / "model_index.json", name).get("requires_aesthetics_score")) is not file.refines:
        raise CheckpointProblem(f"Checkpoint '{name}': '{path.name}' is {file.family}, its `config` is of another.")
    unet = _read_json(configs / "unet" / "config.json", name)
    return _entry(name, section, path, unet, file_fingerprint(path), file_shapes(file), refines=file.refines)


def _check_vae_file(section: Checkpoint, demo: Path) -> None:
    if section.vae is not None and (vae := resolve_model(section.vae, demo)).is_file():
        check_vae(vae)


def _open_folder(name: str, section: Checkpoint, folder: Path) -> CheckpointEntry:
    index = _read_json(folder / "model_index.json", name)
    if index.get("_class_name") not in PIPELINES:
        raise CheckpointProblem(f"Checkpoint '{name}' is a {index.get('_class_name')}, not an SDXL pipeline.")
    if list(folder.rglob("*.py")):
        raise CheckpointProblem(f"Checkpoint '{name}' brings Python code along; such folders are not served.")
    unet = _read_json(folder / "unet" / "config.json", name)
    refines = bool(index.get("requires_aesthetics_score"))
    return _entry(name, section, folder, unet, fingerprint(folder), module_shapes(folder), refines=refines)


def _entry(
    name: str,
    section: Checkpoint,
    path: Path,
    unet: Mapping[str, Any],
    digest: str,
    shapes: Mapping[str, tuple[int, ...]],
    *,
    refines: bool = False,
) -> CheckpointEntry:
    """The entry; `unet` is the UNet's config."""
    area = _training_area(unet, name)
    budget = section.native_pixels or int(area * NATIVE_BUDGET)
    created = int((path / "model_index.json" if path.is_dir() else path).stat().st_mtime)
    embeds_guidance = unet.get("time_cond_proj_dim") is not None
    return CheckpointEntry(
        name, path, digest, created, shapes, min(area, budget), budget, embeds_guidance, refines, section
    )


def _training_area(unet: Mapping[str, Any], name: str) -> int:
    latent_side = unet.get("sample_size") or SDXL_SAMPLE_SIZE
    if type(latent_side) is not int or not 8 <= latent_side <= LARGEST_SAMPLE_SIZE:
        raise CheckpointProblem(f"Checkpoint '{name}': 'unet/config.json' has no usable 'sample_size'.")
    return (latent_side * VAE_FACTOR) ** 2


def _read_json(path: Path, name: str) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointProblem(f"Checkpoint '{name}': '{path.name}' is missing or not readable.") from error
    if not isinstance(found, dict):
        raise CheckpointProblem(f"Checkpoint '{name}': '{path.name}' is not a JSON object.")
    return found
