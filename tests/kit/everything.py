"""An engine with models of every kind in a folder, and diffusers with the same files."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sdxl_gateway.catalog.controls import open_control
from sdxl_gateway.config import DEMO_MODEL, SDXL_CONFIGS, Checkpoint, EngineProcess, Memory, Upscaler
from sdxl_gateway.config import Control as Section
from sdxl_gateway.core.recipe import Blend, Control
from sdxl_gateway.engine.load import open_engine
from sdxl_gateway.engine.models.loaders import LoadedCheckpoint
from tests.kit.control_folders import control_folder, control_model, union_folder, union_model
from tests.kit.embedding_files import write_embedding
from tests.kit.engine import SIDE, Studio, process_settings
from tests.kit.engine_loras import admitted, blend, write_lora
from tests.kit.ip_adapters import section as adapter_section
from tests.kit.model_folders import inpainting_demo
from tests.kit.oracle import NET_SCALE, Oracle, Spelt
from tests.kit.reference import Reference
from tests.kit.single_files import reference, section, write_single_file
from tests.kit.upscaler_files import compact, written
from tools.demo_refiner import write_demo_refiner

THE_SAME_TO_DIFFUSERS = {
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
}
WORD = "sks"
NET = "sharp"
TILED = "tiled"
LORAS = {"ink": 0.8, "clay": -0.5}


@dataclass(frozen=True)
class Everything:
    """`controls` are by name, of weight 0.9; `words` are taught by the embedding's file; `blend` has two LoRAs."""

    config: EngineProcess
    studio: Studio
    oracle: Oracle
    controls: Mapping[str, Control]
    words: tuple[tuple[str, str], ...]
    blend: Blend


def everything(folder: Path, spelt: Spelt) -> Everything:
    """The checkpoints are "demo", "nine", "file", "velocity", "fine" and "tiled"."""
    checkpoints, nets, files = _checkpoints(folder), {NET: compact(NET_SCALE)}, _files(folder)
    sections, models = _controls(folder)
    adapter = adapter_section(folder / "adapter")
    config = process_settings(folder, {name: one for name, (one, _) in checkpoints.items()}, sections)
    upscalers = {name: Upscaler(path=written(net, folder / f"{name}-net.safetensors")) for name, net in nets.items()}
    config = config.model_copy(update={"ip_adapter": adapter, "upscalers": upscalers})
    controls = {name: _control(name, one) for name, one in sections.items()}
    oracle = Oracle(
        checkpoints={name: opener for name, (_, opener) in checkpoints.items()},
        files={digest: folder / f"{name}.safetensors" for name, digest in files.items()},
        controls={controls[name].digest: model for name, model in models.items()},
        adapters={"adapter": adapter},
        nets=nets,
        spelt=spelt,
    )
    loras = blend(*((files[name], weight) for name, weight in LORAS.items()))
    return Everything(config, opened(config), oracle, controls, ((WORD, files[WORD]),), loras)


def opened(config: EngineProcess, **memory: Any) -> Studio:
    """An engine; `memory` are settings of its section."""
    told: list[Any] = []
    engine = open_engine(config.model_copy(update={"memory": Memory(**memory)}), told.append)
    studio = Studio(engine, DEMO_MODEL, config.data_directory, told)
    _has_no_room_for_a_picture(studio, TILED)
    return studio


def _checkpoints(folder: Path) -> dict[str, tuple[Checkpoint, Callable[[], Reference]]]:
    """The section of each, and a function that opens it with diffusers."""
    nine, fine = inpainting_demo(folder / "nine"), write_demo_refiner(folder / "fine")
    file, configs = write_single_file(folder / "file.safetensors"), _configs(folder / "configs")
    velocity = Checkpoint(path=str(file), config=str(configs), prediction_type="v_prediction", zero_snr=True)
    return {
        "demo": (Checkpoint(path="demo"), lambda: Reference(DEMO_MODEL)),
        "nine": (Checkpoint(path=str(nine)), lambda: Reference(nine)),
        "fine": (Checkpoint(path=str(fine)), lambda: Reference(fine)),
        "file": (section(file), lambda: reference(file)),
        "velocity": (velocity, lambda: reference(file, configs, **THE_SAME_TO_DIFFUSERS)),
        TILED: (Checkpoint(path="demo"), _tiled_reference),
    }


def _configs(folder: Path) -> Path:
    """The demo's configs with SDXL's own scheduler, which predicts noise."""
    shutil.copytree(DEMO_MODEL, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    shutil.copytree(SDXL_CONFIGS / "scheduler", folder / "scheduler", dirs_exist_ok=True)
    return folder


def _controls(folder: Path) -> tuple[dict[str, Section], dict[str, Any]]:
    """Their sections, and diffusers' models with the same weights."""
    folders = {
        "canny": control_folder(folder / "canny", 1),
        "depth": control_folder(folder / "depth", 2),
        "union": union_folder(folder / "union", 3),
    }
    sections = {name: Section(path=str(path)) for name, path in folders.items()}
    return sections, {"canny": control_model(1), "depth": control_model(2), "union": union_model(3)}


def _control(name: str, one: Section) -> Control:
    return Control(name, open_control(name, one).digest, 0.9, mode=3 if name == "union" else None)


def _files(folder: Path) -> dict[str, str]:
    """The digests of LoRAs and of an embedding, after they were admitted."""
    write_embedding(folder / f"{WORD}.safetensors", 1)
    for seed, name in enumerate(LORAS):
        write_lora(folder / f"{name}.safetensors", DEMO_MODEL, seed)
    return {name: admitted(folder / f"{name}.safetensors", folder) for name in (*LORAS, WORD)}


def _has_no_room_for_a_picture(studio: Studio, name: str) -> None:
    """Make its VAE work in tiles of half a picture's sides."""
    pool = studio.engine._pool
    loaded = pool.checkpoint(name)
    placement = replace(loaded.checkpoint.placement, whole_pixels=1)
    checkpoint = replace(loaded.checkpoint, placement=placement)
    pool._models["checkpoint", name] = LoadedCheckpoint(checkpoint, loaded.switcher)
    _in_small_tiles(checkpoint.vae)


def _tiled_reference() -> Reference:
    made = Reference(DEMO_MODEL)
    made.base.vae.enable_tiling()
    _in_small_tiles(made.base.vae)
    return made


def _in_small_tiles(vae: Any) -> None:
    vae.tile_sample_min_size, vae.tile_latent_min_size = SIDE // 2, SIDE // 2 // 8
