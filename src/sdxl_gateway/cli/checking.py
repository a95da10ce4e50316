"""Reports what a server with these settings would serve, and everything that is wrong, as text or JSON."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import typer

from sdxl_gateway.accounts.authenticator import KnownKeys, refuse_anonymous
from sdxl_gateway.accounts.key_store import KeyStore
from sdxl_gateway.accounts.pepper import pepper_of
from sdxl_gateway.accounts.static_keys import StaticKeys
from sdxl_gateway.admission.configured_names import problems
from sdxl_gateway.catalog.checkpoint_folder.catalog import CheckpointCatalog
from sdxl_gateway.catalog.checkpoints import CheckpointEntry, open_checkpoint, with_ip_adapter
from sdxl_gateway.catalog.controls import open_control
from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.catalog.preview_vae import preview_vae_folder
from sdxl_gateway.cli.asking import settings_for
from sdxl_gateway.cli.lora_files import content_digest
from sdxl_gateway.cli.memory_report import MemoryReport, bytes_of, report_memory
from sdxl_gateway.config import DEMO_MATTE, DEMO_MODEL, ConfigProblem, Engine, Settings
from sdxl_gateway.core.errors import CheckpointProblem, MatteProblem, StartProblem
from sdxl_gateway.matting.open import open_matte
from sdxl_gateway.rooms import build_rooms
from sdxl_gateway.storage.database import FILE_NAME as DATABASE
from sdxl_gateway.storage.database import opened
from sdxl_gateway.storage.directory import refuse_unusable
from sdxl_gateway.telemetry.device import describe_device, devices_of, fp8_problem, least_memory_bytes


@dataclass(frozen=True, slots=True)
class CheckpointLine:
    """A checkpoint that would be served."""

    name: str
    path: str
    digest: str
    native_pixels: int


@dataclass(frozen=True, slots=True)
class ControlLine:
    """A ControlNet; `fits` are the checkpoints that it can be used with."""

    name: str
    files: list[str]
    digest: str
    fits: list[str]


@dataclass(frozen=True, slots=True)
class LoraLine:
    """A LoRA that fits a checkpoint; `digest` is its content's sha256."""

    name: str
    file: str
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class IpAdapterLine:
    """The IP-Adapter that would be used; it is plain or `plus`."""

    name: str
    file: str
    digest: str
    plus: bool


@dataclass(frozen=True, slots=True)
class MatteLine:
    """The matte model that would be used; `digest` is its file's sha256."""

    path: str
    kind: str
    digest: str


@dataclass(slots=True)
class Found:
    """The result of `check`; `problems` are sentences that each name what to change.

    `memory` is for the smallest device, None if all use the host's memory.
    """

    devices: list[str] = field(default_factory=list)
    data_directory: str = ""
    checkpoint_directory: str = ""
    lora_directory: str = ""
    checkpoints: list[CheckpointLine] = field(default_factory=list)
    controls: list[ControlLine] = field(default_factory=list)
    ip_adapters: list[IpAdapterLine] = field(default_factory=list)
    loras: list[LoraLine] = field(default_factory=list)
    memory: MemoryReport | None = None
    matte: MatteLine | None = None
    problems: list[str] = field(default_factory=list)


def run(config: Path | None, loras: Path | None, model: str | None, as_json: bool, vram: str | None = None) -> None:
    """Prints what was found; `vram` is the memory of a device to plan for. Exits with 1 when there are problems."""
    asked_bytes = None if vram is None else bytes_of(vram)
    try:
        settings = settings_for(config, loras, model)
    except ConfigProblem as problem:
        found = Found(problems=list(problem.problems))
    else:
        found = inspect(settings, asked_bytes)
    typer.echo(json.dumps(_as_json(found), indent=2) if as_json else "\n".join(_lines(found)))
    if found.problems:
        raise typer.Exit(1)


def inspect(settings: Settings, vram_bytes: int | None = None) -> Found:
    """Open every checkpoint and LoRA; nothing is loaded onto a device."""
    devices, unknown = _devices(settings.engine)
    found = Found(
        [describe_device(device) for device in devices],
        str(settings.data_directory.absolute()),
        str(settings.checkpoint_folder.directory.absolute()),
        str(settings.loras.directory.absolute()),
        problems=unknown,
    )
    checkpoints = _open_checkpoints(settings, found)
    _look_at_controls(settings, found, checkpoints.values())
    adapters = LoraCatalog(settings.loras, settings.data_directory, settings.demo_loras, checkpoints.values())
    adapters.scan()
    _look_at_loras(settings, found, adapters)
    total_bytes = vram_bytes or least_memory_bytes(devices)
    if checkpoints and total_bytes is not None:
        found.memory = report_memory(settings, checkpoints.values(), total_bytes)
        found.problems.extend(found.memory.problems)
    if settings.memory.products == "fp8" and vram_bytes is None:
        found.problems.extend(dict.fromkeys(filter(None, map(fp8_problem, devices))))
    _look_at_matte(settings, found)
    _look_at_preview_vae(settings, found)
    if checkpoints:
        _look_at_ip_adapter(settings, found, checkpoints)
        found.problems.extend(f"{key}: {reason}" for key, reason in problems(settings, checkpoints, adapters))
    if not found.problems:
        found.problems.extend(_why_no_start(settings))
    return found


def _why_no_start(settings: Settings) -> Iterator[str]:
    """Further problems that would stop `serve`: the server's parts are built as it builds them, and closed again."""
    try:
        refuse_unusable(settings.data_directory)
        with TemporaryDirectory(prefix="sdxl-gateway-") as scratch:
            build_rooms(settings, scratch=Path(scratch))
            _refuse_without_key(settings, Path(scratch))
    except StartProblem as problem:
        yield str(problem)


def _refuse_without_key(settings: Settings, scratch: Path) -> None:
    """Raises AnonymousInPublic; does not create a data directory that has no keys yet."""
    home = settings.data_directory if (settings.data_directory / DATABASE).exists() else scratch
    with opened(home) as database:
        store = KeyStore(database, partial(pepper_of, settings.auth.pepper, home))
        store.load_now()
        refuse_anonymous(settings, KnownKeys(StaticKeys(settings.auth), store, guarded=settings.redis.url is not None))


def _devices(engine: Engine) -> tuple[tuple[str, ...], list[str]]:
    """Each engine's device, and what is wrong with them."""
    try:
        return devices_of(engine), []
    except StartProblem as problem:
        return (engine.device,), [str(problem)]


def _open_checkpoints(settings: Settings, found: Found) -> CheckpointCatalog:
    opened = {}
    for name, section in settings.checkpoints.items():
        try:
            entry = open_checkpoint(name, section, DEMO_MODEL)
        except CheckpointProblem as problem:
            found.problems.append(str(problem))
        else:
            opened[name] = entry
    catalog = CheckpointCatalog(opened, settings.checkpoint_folder)
    catalog.scan()
    found.problems.extend(f"Checkpoint {problem.name}: {problem.message}" for problem in catalog.problems)
    found.checkpoints.extend(
        CheckpointLine(entry.name, str(entry.path), entry.digest, entry.native_pixels) for entry in catalog.values()
    )
    return catalog


def _look_at_controls(settings: Settings, found: Found, checkpoints: Collection[CheckpointEntry]) -> None:
    for name, section in settings.controls.items():
        try:
            entry = open_control(name, section)
        except CheckpointProblem as problem:
            found.problems.append(str(problem))
            continue
        fits = [checkpoint.name for checkpoint in checkpoints if entry.fits(checkpoint.shapes)]
        found.controls.append(ControlLine(name, list(map(str, entry.files)), entry.digest, fits))
        if not fits:
            found.problems.append(f"controls.{name}: it fits none of the checkpoints.")


def _look_at_ip_adapter(settings: Settings, found: Found, checkpoints: Mapping[str, CheckpointEntry]) -> None:
    """The IP-Adapter, which must fit one of the checkpoints."""
    try:
        entries = with_ip_adapter(checkpoints, settings.ip_adapter)
    except CheckpointProblem as problem:
        found.problems.append(str(problem))
    else:
        adapters = {entry.ip_adapter for entry in entries.values() if entry.ip_adapter is not None}
        found.ip_adapters.extend(IpAdapterLine(one.name, str(one.path), one.digest, one.plus) for one in adapters)


def _look_at_loras(settings: Settings, found: Found, adapters: LoraCatalog) -> None:
    found.problems.extend(f"LoRA {problem.name}: {problem.message}" for problem in adapters.problems)
    for entry in adapters.entries():
        digest = content_digest(entry.path, settings.loras)
        found.loras.append(LoraLine(entry.name, str(entry.path), digest, entry.size_bytes))


def _as_json(found: Found) -> dict[str, Any]:
    memory = None if found.memory is None else found.memory.as_json()
    return asdict(replace(found, memory=None)) | {"memory": memory}


def _look_at_preview_vae(settings: Settings, found: Found) -> None:
    try:
        preview_vae_folder(settings.engine.preview_vae)
    except CheckpointProblem as problem:
        found.problems.append(str(problem))


def _look_at_matte(settings: Settings, found: Found) -> None:
    try:
        matte = open_matte(settings.matting, DEMO_MATTE)
    except MatteProblem as problem:
        found.problems.append(str(problem))
    else:
        if matte is not None:
            found.matte = MatteLine(str(settings.matting.path), settings.matting.kind, matte.digest)


def _lines(found: Found) -> Iterator[str]:
    for device in found.devices:
        yield f"device       {device}"
    yield f"data folder  {found.data_directory}"
    yield f"checkpoints  {found.checkpoint_directory}"
    yield f"lora folder  {found.lora_directory}"
    for checkpoint in found.checkpoints:
        yield f"checkpoint   {checkpoint.name}  {checkpoint.path}  {checkpoint.digest[:12]}"
    for control in found.controls:
        yield f"control      {control.name}  {control.files[0]}  {control.digest[:12]}"
    for adapter in found.ip_adapters:
        yield f"IP-Adapter   {adapter.name}  {adapter.file}  {adapter.digest[:12]}"
    for lora in found.loras:
        yield f"lora         {lora.name}  {lora.file}  {lora.digest[:12]}"
    if found.memory is not None:
        yield from found.memory.lines()
    if found.matte is not None:
        yield f"matte        {found.matte.path}  {found.matte.kind}  {found.matte.digest[:12]}"
    for problem in found.problems:
        yield f"PROBLEM      {problem}"
    yield "" if found.problems else "ok"
