"""The settings as frozen sections: every key, its type and its default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from sdxl_gateway.config.auditing import Audit, Encryption, Retention
from sdxl_gateway.config.batching import Batches, Files
from sdxl_gateway.config.cluster import Cluster
from sdxl_gateway.config.controls import Control
from sdxl_gateway.config.egress import Egress
from sdxl_gateway.config.engines import Engine, Memory
from sdxl_gateway.config.guarding import Guard
from sdxl_gateway.config.guiding import Edits, IpAdapter
from sdxl_gateway.config.idempotency import Idempotency
from sdxl_gateway.config.jobs import Jobs
from sdxl_gateway.config.matting import Matting
from sdxl_gateway.config.models import Checkpoint, CheckpointFolder, HouseStyle, Name
from sdxl_gateway.config.prompting import (
    OPENAI_STYLES,
    Embeddings,
    Enhancer,
    Prompts,
    Style,
    with_openai_styles,
)
from sdxl_gateway.config.redis import Redis
from sdxl_gateway.config.results import Results
from sdxl_gateway.config.s3 import S3
from sdxl_gateway.config.safety import Moderation, Safety
from sdxl_gateway.config.section import (
    BaseUrl,
    Bytes,
    FileCaps,
    Key,
    Keys,
    Seconds,
    Section,
    Words,
)
from sdxl_gateway.config.telemetry import Telemetry, Traces
from sdxl_gateway.config.tenants import Tenant
from sdxl_gateway.config.upscaling import Upscaler
from sdxl_gateway.config.webhooks import Webhooks

DEMO_MODEL = Path(__file__).parent.parent / "demo_model"
DEMO_LORAS = Path(__file__).parent.parent / "demo_loras"
SDXL_CONFIGS = Path(__file__).parent.parent / "sdxl_configs"
REFINER_CONFIGS = Path(__file__).parent.parent / "sdxl_refiner_configs"
ENVIRONMENT_PREFIX = "SDXL_GATEWAY__"


def _of_one_part(alias: str) -> str:
    if "+" in alias and set(alias) & set("*?["):
        raise ValueError("a pattern stands for the first part of a model name and holds no '+'")
    return alias


AliasName = Annotated[str, AfterValidator(_of_one_part)]


class Server(Section):
    """Where the server listens, and how large requests may be and how long they may take to arrive."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    public_base_url: BaseUrl | None = None
    strict: bool = False
    max_body_bytes: Bytes = 120 * 2**20
    receive_timeout_seconds: Seconds = 60.0
    keep_alive_seconds: Annotated[float, Field(ge=1)] = 75.0
    max_connections: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    max_connections_per_address: Annotated[int, Field(ge=0)] = 256
    shutdown_grace_seconds: Seconds = 20.0
    cors_origins: Words = ("*",)
    page: bool = True


class Auth(Section):
    """Who may use the server; keys are never printed."""

    api_keys: Keys = ()
    admin_keys: Keys = ()
    pepper: Key | None = None
    allow_anonymous: bool = False
    protect_metrics: bool = False
    wrong_keys_per_minute: Annotated[int, Field(ge=0)] = 30


class Loras(FileCaps):
    """The LoRA folder, the limits of its files, and the copies that are used for painting."""

    directory: Path = Path("loras")
    watch: bool = True
    prompt_tags: bool = True
    max_per_request: Annotated[int, Field(ge=1, le=64)] = 16
    max_file_bytes: Bytes = 2 * 2**30
    store_seconds: Seconds = 30 * 86400.0
    store_max_bytes: Bytes = 64 * 2**30


class Limits(Section):
    """What one request may ask for, and how many may wait."""

    max_pixels: Annotated[int, Field(ge=64 * 64)] = 2048 * 2048
    max_upscaled_pixels: Annotated[int, Field(ge=64 * 64)] = 4096 * 4096
    max_inpaint_pixels: Annotated[int, Field(ge=64 * 64)] = 12_582_912
    max_input_pixels: Annotated[int, Field(ge=64 * 64)] = 40_000_000
    max_image_bytes: Bytes = 50 * 2**20
    decode_seconds: Seconds = 10.0
    max_prompt_chars: Annotated[int, Field(ge=1)] = 32_000
    max_prompt_chunks: Annotated[int, Field(ge=1)] = 32
    max_steps: Annotated[int, Field(ge=1, le=1000)] = 150
    max_controls: Annotated[int, Field(ge=1, le=16)] = 4
    queue_size: Annotated[int, Field(ge=1)] = 64
    tenant_queue_size: Annotated[int, Field(ge=1)] | None = None
    deadline_seconds: Seconds = 300.0


class Quality(Section):
    """Steps for each of OpenAI's quality words, as a share of the model's own default steps."""

    low: Annotated[float, Field(gt=0, le=10)] = 0.6
    medium: Annotated[float, Field(gt=0, le=10)] = 1.0
    high: Annotated[float, Field(gt=0, le=10)] = 1.5
    max: Annotated[float, Field(gt=0, le=10)] = 2.0


class Delivery(Section):
    """How long pictures are stored, how long their URLs are valid, and what is written into their files."""

    url_seconds: Seconds = 3600.0
    url_key: Key | None = None
    keep_seconds: Seconds = 7 * 86400.0
    max_stored_bytes: Bytes = 4 * 2**30
    embed_recipe: bool = False


class EngineProcess(Section):
    """The settings that are sent to an engine process at its start.

    `first_in_folder` is the folder's checkpoint to load first, if that is not the first of `checkpoints`.
    `engines`, this one included, share the machine's CPU cores and memory.
    """

    data_directory: Path
    engine: Engine
    engines: int = 1
    memory: Memory
    checkpoints: dict[str, Checkpoint]
    checkpoint_folder: CheckpointFolder = CheckpointFolder()
    first_in_folder: str | None = None
    loras: Loras
    controls: dict[str, Control] = Field(default_factory=dict)
    ip_adapter: IpAdapter = IpAdapter()
    upscalers: dict[str, Upscaler] = Field(default_factory=dict)
    guard: Guard = Guard()
    telemetry: Telemetry = Telemetry()


class Settings(BaseSettings):
    """All settings; see config.toml for each key's reason.

    Use `load_settings`; created directly, it reads neither the environment nor a file.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX,
        env_nested_delimiter="__",
        enable_decoding=False,
        extra="forbid",
        frozen=True,
        protected_namespaces=(),
    )

    default_model: str = "demo"
    data_directory: Path = Path("data")
    server: Server = Server()
    auth: Auth = Auth()
    tenant_defaults: Tenant = Tenant()
    tenants: dict[Name, Tenant] = {}
    engine: Engine = Engine()
    cluster: Cluster = Cluster()
    memory: Memory = Memory()
    checkpoints: dict[Name, Checkpoint] = Field(
        default_factory=lambda: {"demo": Checkpoint(path="demo", steps=20, guidance_scale=1.0)}
    )
    checkpoint_folder: CheckpointFolder = CheckpointFolder()
    models: dict[Name, HouseStyle] = {}
    aliases: dict[AliasName, str] = {"gpt-image-*": "default", "chatgpt-image-*": "default", "dall-e-*": "default"}
    loras: Loras = Loras()
    controls: dict[Name, Control] = {}
    ip_adapter: IpAdapter = IpAdapter()
    edits: Edits = Edits()
    prompts: Prompts = Prompts()
    embeddings: Embeddings = Embeddings()
    enhancer: Enhancer = Enhancer()
    styles: Annotated[dict[Name, Style], AfterValidator(with_openai_styles)] = dict(OPENAI_STYLES)
    upscalers: dict[Name, Upscaler] = {}
    limits: Limits = Limits()
    jobs: Jobs = Jobs()
    quality: Quality = Quality()
    delivery: Delivery = Delivery()
    s3: S3 = S3()
    results: Results = Results()
    idempotency: Idempotency = Idempotency()
    egress: Egress = Egress()
    files: Files = Files()
    webhooks: Webhooks = Webhooks()
    batches: Batches = Batches()
    matting: Matting = Matting()
    guard: Guard = Guard()
    audit: Audit = Audit()
    retention: Retention = Retention()
    encryption: Encryption = Encryption()
    safety: Safety = Safety()
    moderation: Moderation = Moderation()
    redis: Redis = Redis()
    telemetry: Telemetry = Telemetry()
    traces: Traces = Traces()

    @property
    def reachable(self) -> bool:
        """Whether other machines can reach the server."""
        return self.server.host not in {"127.0.0.1", "::1", "localhost"}

    @property
    def demo_loras(self) -> Path | None:
        """The folder of the demo model's LoRAs; None if that model is not served, as they fit no other."""
        return DEMO_LORAS if any(checkpoint.path == "demo" for checkpoint in self.checkpoints.values()) else None

    @property
    def model_names(self) -> tuple[str, ...]:
        """Checkpoints, house styles and rollouts: the names that metrics may have as labels."""
        return (*self.checkpoints, *self.models)

    def tenant(self, name: str) -> Tenant:
        """The settings of that tenant."""
        return self.tenants.get(name, Tenant()).over(self.tenant_defaults)

    def engine_process(self) -> EngineProcess:
        """The part that an engine process needs, without secrets."""
        return EngineProcess(
            data_directory=self.data_directory,
            engine=self.engine,
            memory=self.memory,
            checkpoints=self.checkpoints,
            checkpoint_folder=self.checkpoint_folder,
            loras=self.loras,
            controls=self.controls,
            ip_adapter=self.ip_adapter,
            upscalers=self.upscalers,
            guard=self.guard,
            telemetry=self.telemetry,
        )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only the values given; `load_settings` reads the other sources."""
        return (init_settings,)
