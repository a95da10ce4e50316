"""Takes an engine process's settings, gives an engine ready to paint, with its first checkpoint loaded."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import diffusers
import torch
import transformers

from sdxl_gateway.catalog.checkpoints import config_folder, scheduler_changes
from sdxl_gateway.catalog.controls import ControlEntry, open_control, open_controls
from sdxl_gateway.catalog.ip_adapters import open_ip_adapter
from sdxl_gateway.catalog.model_files import UNET, resolve_model
from sdxl_gateway.catalog.preview_vae import preview_vae_folder
from sdxl_gateway.catalog.upscalers import UpscalerEntry, open_upscaler, open_upscalers
from sdxl_gateway.config import DEMO_MODEL, EngineProcess, Preview
from sdxl_gateway.config import Checkpoint as CheckpointSection
from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.core.ports import Measure
from sdxl_gateway.engine.canvas import PartFactory
from sdxl_gateway.engine.compile import Denoisers, Todo
from sdxl_gateway.engine.device import (
    be_current,
    bfloat16_works,
    choose_dtype,
    choose_vae_dtype,
    open_device,
    sum_in_half,
)
from sdxl_gateway.engine.engine import DiffusionEngine
from sdxl_gateway.engine.memory.budgets import ledger_budgets, usable_now, with_room_for
from sdxl_gateway.engine.memory.ledger import Ledger, available_ram_bytes
from sdxl_gateway.engine.memory.page_locked import READY, stock
from sdxl_gateway.engine.models.adapters import AdapterCaches
from sdxl_gateway.engine.models.by_digest import ByDigest
from sdxl_gateway.engine.models.checkpoint import Checkpoint, Source, load_checkpoint
from sdxl_gateway.engine.models.controls import CONTROL, ControlLoader
from sdxl_gateway.engine.models.fp8_proof import refuse_unable
from sdxl_gateway.engine.models.host_copies import HostCopies
from sdxl_gateway.engine.models.image_prompts import IMAGE_ENCODER, IP_ADAPTER, ImageEncoderLoader, IpAdapterLoader
from sdxl_gateway.engine.models.loaders import CHECKPOINT, CheckpointLoader, Loader
from sdxl_gateway.engine.models.placement import Placement
from sdxl_gateway.engine.models.pool import ModelPool
from sdxl_gateway.engine.models.preview_vae import PREVIEW_VAE, PreviewVaeLoader
from sdxl_gateway.engine.models.sources import Sources
from sdxl_gateway.engine.models.upscalers import UPSCALER, UpscalerLoader
from sdxl_gateway.engine.pace.findings import Findings
from sdxl_gateway.engine.pace.formats import format_for_cpu
from sdxl_gateway.engine.parts.control import control_from
from sdxl_gateway.engine.parts.guidance import Guidance
from sdxl_gateway.engine.parts.image_prompt import ImagePrompt
from sdxl_gateway.engine.parts.inpainting_channels import InpaintingChannels
from sdxl_gateway.engine.parts.repaint import Repaint
from sdxl_gateway.engine.parts.text_keys import text_keys_on
from sdxl_gateway.engine.stages.decode import Decode
from sdxl_gateway.engine.stages.denoise import Denoise
from sdxl_gateway.engine.stages.detail import Detail
from sdxl_gateway.engine.stages.encode import Encode
from sdxl_gateway.engine.stages.looks import Looks
from sdxl_gateway.engine.stages.prepare import Prepare
from sdxl_gateway.engine.stages.references import EncodeReferences
from sdxl_gateway.engine.stages.stage import Stage
from sdxl_gateway.engine.stages.upscale import Upscale
from sdxl_gateway.engine.timing import Clock, Timings, clock_of
from sdxl_gateway.engine.trial import native_side
from sdxl_gateway.engine.unet.compiler import keep_compiled_code
from sdxl_gateway.engine.unet.cuda_graphs import CudaRecorder
from sdxl_gateway.engine.unet.recorded import Tape
from sdxl_gateway.engine.warm_up import warm_up
from sdxl_gateway.scheduling.memory_plan import MemoryPlan, Wanted, plan_memory

log = logging.getLogger(__name__)

AUTO = "auto"

PARTS: tuple[PartFactory, ...] = (Guidance.begin, InpaintingChannels.begin, Repaint.begin, ImagePrompt.begin)
"""In the order in which they draw random numbers and join a UNet call; parts that need a further model follow these."""


def plain_parts(ledger: Ledger) -> tuple[PartFactory, ...]:
    """The parts of a picture that needs no model beside its checkpoint."""
    return *PARTS, text_keys_on(ledger)


def stages_of(pool: ModelPool, preview: Preview = "auto") -> tuple[Stage, ...]:
    """All stages that an image passes, in order; `preview` is the setting `engine.preview`."""
    references = [EncodeReferences(pool)] if IP_ADAPTER in pool.loaders else []
    parts = *PARTS, control_from(pool), text_keys_on(pool.ledger)
    before = Encode(pool), *references, Prepare(parts)
    decode = Decode(Looks(pool, preview), pool.timings.mark)
    return *before, Denoise(), decode, Upscale(pool), Detail(pool)


def open_engine(config: EngineProcess, measure: Measure) -> DiffusionEngine:
    """Load the first checkpoint and warm up, as the settings say.

    Raises CheckpointProblem, whose text is for the operator, and OSError for weights that cannot be read.
    """
    _quiet_libraries()
    device = open_device(config.engine.device, config.engine.threads, config.engines)
    sum_in_half(device, config.engine.fp16_accumulation)
    keep_compiled_code(config.data_directory)
    pool, denoisers = _open(config, device, measure)
    if device.type == "cuda":
        stock.keep(READY, partial(be_current, device))
    stages = stages_of(pool, config.engine.preview)
    if device.type == "cuda" and config.engine.warm_up:
        warm_up(pool, stages, denoisers.first, measure)
    if device.type == "cuda" and config.engine.compiled_sizes == AUTO:
        denoisers.compile_beside()
    engine = DiffusionEngine(pool, stages, measure)
    engine.tell_memory()
    return engine


def open_pool(config: EngineProcess, device: torch.device, measure: Measure, clock: Clock | None = None) -> ModelPool:
    """The pool with a loader for each kind of model, the first checkpoint in it; errors as `open_engine`."""
    return _open(config, device, measure, clock)[0]


def _open(
    config: EngineProcess, device: torch.device, measure: Measure, clock: Clock | None = None
) -> tuple[ModelPool, Denoisers]:
    timings = Timings(measure, clock_of(device) if clock is None else clock)
    sources = Sources(config, _source)
    beginning = sources.first(config.first_in_folder)
    largest = max([beginning, *sources.all_configured()], key=Source.parameters)
    dtype = _dtype(config, largest, device)
    plan = _plan(config, largest, device, dtype)
    placement = Placement.of(plan, device)
    first = load_checkpoint(beginning, placement, dtype)
    ledger = Ledger(with_room_for(first.size_bytes(), _budgets(config, device, plan)))
    denoisers = _denoisers(config, first, ledger, plan)
    adapters = AdapterCaches(sources, config, ledger, device, measure)
    checkpoints = CheckpointLoader(
        sources,
        placement,
        dtype,
        adapters,
        ledger,
        measure,
        timings,
        pristine=config.memory.pristine,
        denoisers=denoisers,
        copies=HostCopies(CHECKPOINT, ledger, device),
    )
    pool = ModelPool(
        {CHECKPOINT: checkpoints, **_side_loaders(config, device, first.dtype)},
        sources,
        adapters,
        ledger,
        device,
        dtype,
        timings=timings,
        placement=placement,
        lanes=plan.lanes,
        patience_seconds=config.engine.load_wait_seconds,
    )
    pool.keep(CHECKPOINT, first.name, checkpoints.blendable(first), first.size_bytes())
    return pool, denoisers


def _denoisers(config: EngineProcess, first: Checkpoint, ledger: Ledger, plan: MemoryPlan) -> Denoisers:
    """Compiles before it returns, if `engine.compiled_sizes` names sizes."""
    sizes, device = config.engine.compiled_sizes, first.device
    side = native_side(first)
    native = (f"{side}x{side}",) if device.type == "cuda" and plan.mode != "low" else ()
    todo = Todo.of(first, plain_parts(ledger), native if sizes == AUTO else sizes, plan.lanes)
    records = device.type == "cuda" and config.engine.cuda_graphs
    denoisers = Denoisers(todo, Tape(CudaRecorder(device), ledger) if records else None)
    if sizes != AUTO:
        denoisers.compile()
    return denoisers


def _side_loaders(config: EngineProcess, device: torch.device, dtype: torch.dtype) -> dict[str, Loader[Any]]:
    """Loaders for the kinds of models beside checkpoints."""
    return {
        CONTROL: ControlLoader(_controls(config), device, dtype),
        UPSCALER: UpscalerLoader(_upscalers(config), device, dtype),
        **_image_prompt_loaders(config, device, dtype),
        **_preview_loaders(config, device, dtype),
    }


def _controls(config: EngineProcess) -> ByDigest[ControlEntry]:
    open_controls(config.controls)  # a ControlNet that cannot be used is an error at start, not at the first request
    return ByDigest([partial(open_control, *one) for one in config.controls.items()], "ControlNet")


def _upscalers(config: EngineProcess) -> ByDigest[UpscalerEntry]:
    open_upscalers(config.upscalers)
    return ByDigest([partial(open_upscaler, *one) for one in config.upscalers.items()], "upscaler")


def _image_prompt_loaders(config: EngineProcess, device: torch.device, dtype: torch.dtype) -> dict[str, Loader[Any]]:
    """Loaders for the configured IP-Adapter, if there is one."""
    if not config.ip_adapter.path:
        return {}
    open_ip_adapter(config.ip_adapter)
    files = ByDigest([partial(open_ip_adapter, config.ip_adapter)], "IP-Adapter")
    return {
        IP_ADAPTER: IpAdapterLoader(files, device, dtype),
        IMAGE_ENCODER: ImageEncoderLoader(files, device, dtype),
    }


def _preview_loaders(config: EngineProcess, device: torch.device, dtype: torch.dtype) -> dict[str, Loader[Any]]:
    """The loader for the configured preview VAE, unless there is none or `engine.preview` names another method."""
    folder = preview_vae_folder(config.engine.preview_vae)
    if folder is None or config.engine.preview != "auto":
        return {}
    return {PREVIEW_VAE: PreviewVaeLoader(folder, device, dtype)}


def _dtype(config: EngineProcess, largest: Source, device: torch.device) -> torch.dtype:
    parameters, free_bytes = largest.parameters(), available_ram_bytes() // config.engines
    wanted = config.engine.dtype
    chosen = choose_dtype(wanted, device.type, parameters=parameters, free_host_bytes=free_bytes)
    if wanted != AUTO or device.type != "cpu" or chosen is not torch.float32:
        return chosen
    return format_for_cpu(parameters, largest.component(UNET).config(), Findings(config.data_directory))


def _budgets(config: EngineProcess, device: torch.device, plan: MemoryPlan) -> dict[str, int | None]:
    return ledger_budgets(config.memory, device, plan, available_ram_bytes() // config.engines)


def _plan(config: EngineProcess, largest: Source, device: torch.device, dtype: torch.dtype) -> MemoryPlan:
    works = bfloat16_works(device)
    vae_dtype = choose_vae_dtype(dtype, device.type, force_upcast=True, bfloat16_works=works)
    wanted = Wanted.of(config.memory, config.engine.max_lanes, dtype.itemsize, vae_dtype.itemsize)
    plan = plan_memory(largest.sizes(), usable_now(device), wanted)
    _refuse_contradictions(config, device, plan)
    if plan.products == "fp8":
        refuse_unable(device, dtype)
    if not plan.fits:
        log.warning("the device has little memory for this checkpoint; `sdxl-gateway check` says what would fit")
    return plan


def _refuse_contradictions(config: EngineProcess, device: torch.device, plan: MemoryPlan) -> None:
    if config.engine.compiled_sizes not in (AUTO, ()) and plan.mode == "low":
        raise CheckpointProblem("engine.compiled_sizes: a UNet that memory.mode low streams cannot be compiled.")
    if plan.mode != "fast" and device.type == "mps":
        raise CheckpointProblem(f"memory.mode is '{plan.mode}', but this device's memory is the host's: use 'fast'.")
    if plan.weights == "fp8" and device.type == "mps":
        raise CheckpointProblem("memory.weights is 'fp8', which MPS does not support; 'int8' is as small.")


def _source(name: str, section: CheckpointSection) -> Source:
    vae = None if section.vae is None else resolve_model(section.vae, DEMO_MODEL)
    if vae is not None and (vae / "vae").is_dir():
        vae = vae / "vae"
    path = resolve_model(section.path, DEMO_MODEL)
    return Source(name, path, vae, config_folder(section, path, DEMO_MODEL), scheduler_changes(section, path))


def _quiet_libraries() -> None:
    """Their own log messages are for developers, and their progress bars for terminals."""
    for library in (diffusers, transformers):
        library.logging.set_verbosity_error()
        library.logging.disable_progress_bar()
