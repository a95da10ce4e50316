"""The settings: flags, environment and config.toml become frozen sections."""

from sdxl_gateway.config.auditing import Audit, Encryption, Retention
from sdxl_gateway.config.batching import Batches, Files
from sdxl_gateway.config.cluster import Cluster
from sdxl_gateway.config.controls import Control
from sdxl_gateway.config.egress import Egress
from sdxl_gateway.config.engines import Engine, Memory, Preview
from sdxl_gateway.config.guarding import Guard
from sdxl_gateway.config.guiding import Edits, IpAdapter
from sdxl_gateway.config.idempotency import Idempotency
from sdxl_gateway.config.jobs import Jobs
from sdxl_gateway.config.matting import DEMO_MATTE, Matting
from sdxl_gateway.config.models import Checkpoint, CheckpointFolder, HouseStyle, LoraWeight, RolloutArm, SamplerName
from sdxl_gateway.config.prompting import Embeddings, Enhancer, Prompts, Style
from sdxl_gateway.config.redis import Redis
from sdxl_gateway.config.reload import PutInForce, Reloading
from sdxl_gateway.config.results import CacheMode, Results
from sdxl_gateway.config.s3 import S3
from sdxl_gateway.config.safety import Moderation, Safety
from sdxl_gateway.config.section import FileCaps, HeaderCaps, Section
from sdxl_gateway.config.sections import (
    DEMO_LORAS,
    DEMO_MODEL,
    REFINER_CONFIGS,
    SDXL_CONFIGS,
    Auth,
    Delivery,
    EngineProcess,
    Limits,
    Loras,
    Quality,
    Server,
    Settings,
)
from sdxl_gateway.config.sources import ConfigProblem, cautions, load_settings
from sdxl_gateway.config.telemetry import Telemetry, Traces
from sdxl_gateway.config.tenants import Tenant
from sdxl_gateway.config.upscaling import Upscaler
from sdxl_gateway.config.webhooks import Webhooks

__all__ = [
    "DEMO_LORAS",
    "DEMO_MATTE",
    "DEMO_MODEL",
    "REFINER_CONFIGS",
    "S3",
    "SDXL_CONFIGS",
    "Audit",
    "Auth",
    "Batches",
    "CacheMode",
    "Checkpoint",
    "CheckpointFolder",
    "Cluster",
    "ConfigProblem",
    "Control",
    "Delivery",
    "Edits",
    "Egress",
    "Embeddings",
    "Encryption",
    "Engine",
    "EngineProcess",
    "Enhancer",
    "FileCaps",
    "Files",
    "Guard",
    "HeaderCaps",
    "HouseStyle",
    "Idempotency",
    "IpAdapter",
    "Jobs",
    "Limits",
    "LoraWeight",
    "Loras",
    "Matting",
    "Memory",
    "Moderation",
    "Preview",
    "Prompts",
    "PutInForce",
    "Quality",
    "Redis",
    "Reloading",
    "Results",
    "Retention",
    "RolloutArm",
    "Safety",
    "SamplerName",
    "Section",
    "Server",
    "Settings",
    "Style",
    "Telemetry",
    "Tenant",
    "Traces",
    "Upscaler",
    "Webhooks",
    "cautions",
    "load_settings",
]
