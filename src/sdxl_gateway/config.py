"""Takes flags, environment and config.toml, in that order of precedence; gives frozen sections, or refuses naming the key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

DEMO_MODEL = Path(__file__).parent / "demo_model"

Bytes = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0)]
SamplerName = Literal["euler", "euler_a", "dpmpp_2m", "dpmpp_2m_karras", "ddim", "unipc", "lcm"]


class Section(BaseModel):
    """A frozen group of settings that knows no other keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Server(Section):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    public_base_url: str | None = None
    strict: bool = False
    max_body_bytes: Bytes = 120 * 2**20
    receive_timeout_seconds: Seconds = 60.0
    shutdown_grace_seconds: Seconds = 20.0
    cors_origins: tuple[str, ...] = ("*",)


class Auth(Section):
    api_keys: tuple[SecretStr, ...] = ()
    admin_keys: tuple[SecretStr, ...] = ()
    protect_metrics: bool = False


class Engine(Section):
    device: str = "auto"
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    threads: Annotated[int, Field(ge=0)] = 0
    max_lanes: Annotated[int, Field(ge=1, le=16)] = 4
    stall_seconds: Seconds = 300.0
    restart_backoff_seconds: Seconds = 0.5
    restart_backoff_max_seconds: Seconds = 30.0


class Memory(Section):
    vram_budget_bytes: Bytes | Literal["auto"] = "auto"
    host_budget_bytes: Bytes | Literal["auto"] = "auto"
    pristine: Literal["auto", "device", "host"] = "auto"


class Checkpoint(Section):
    path: str
    native_pixels: Annotated[int, Field(ge=64 * 64)] | None = None
    steps: Annotated[int, Field(ge=1, le=150)] | None = None
    guidance_scale: Annotated[float, Field(ge=0, le=50)] | None = None
    sampler: SamplerName | None = None
    vae: str | None = None


class LoraWeight(Section):
    name: str
    weight: Annotated[float, Field(ge=-4, le=4)] | None = None
    text_encoder_weight: Annotated[float, Field(ge=-4, le=4)] | None = None


class HouseStyle(Section):
    """A model name made of a checkpoint, LoRAs and defaults."""

    checkpoint: str | None = None
    loras: tuple[LoraWeight, ...] = ()
    steps: Annotated[int, Field(ge=1, le=150)] | None = None
    guidance_scale: Annotated[float, Field(ge=0, le=50)] | None = None
    sampler: SamplerName | None = None
    size: str | None = None
    negative_prompt: str | None = None
    trigger_words: str | None = None
    add_trigger_words: bool = False


class Loras(Section):
    directory: Path = Path("loras")
    watch: bool = True
    prompt_tags: bool = True
    max_per_request: Annotated[int, Field(ge=1, le=64)] = 16
    max_file_bytes: Bytes = 2 * 2**30
    max_header_bytes: Bytes = 16 * 2**20
    max_tensors: Annotated[int, Field(ge=1)] = 20_000


class Limits(Section):
    max_pixels: Annotated[int, Field(ge=64 * 64)] = 2048 * 2048
    max_input_pixels: Annotated[int, Field(ge=64 * 64)] = 40_000_000
    max_image_bytes: Bytes = 50 * 2**20
    max_prompt_chars: Annotated[int, Field(ge=1)] = 32_000
    max_steps: Annotated[int, Field(ge=1, le=1000)] = 150
    queue_size: Annotated[int, Field(ge=1)] = 64
    deadline_seconds: Seconds = 300.0


class Quality(Section):
    """Steps for each of OpenAI's quality words, as a share of the model's own default steps."""

    low: Annotated[float, Field(gt=0, le=10)] = 0.6
    medium: Annotated[float, Field(gt=0, le=10)] = 1.0
    high: Annotated[float, Field(gt=0, le=10)] = 1.5
    max: Annotated[float, Field(gt=0, le=10)] = 2.0


class Delivery(Section):
    url_seconds: Seconds = 3600.0
    embed_recipe: bool = False


class Telemetry(Section):
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] = "console"
    lora_label_limit: Annotated[int, Field(ge=0)] = 50


class EngineProcess(Section):
    """What crosses to an engine process at its start."""

    data_directory: Path
    engine: Engine
    memory: Memory
    checkpoints: dict[str, Checkpoint]
    loras: Loras


class Settings(BaseSettings):
    """Everything the operator can decide; see config.toml for each key's reason."""

    model_config = SettingsConfigDict(
        env_prefix="SDXL_GATEWAY__",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        protected_namespaces=(),
    )

    default_model: str = "demo"
    data_directory: Path = Path("data")
    server: Server = Server()
    auth: Auth = Auth()
    engine: Engine = Engine()
    memory: Memory = Memory()
    checkpoints: dict[str, Checkpoint] = Field(default_factory=lambda: {"demo": Checkpoint(path="demo")})
    models: dict[str, HouseStyle] = {}
    aliases: dict[str, str] = {"gpt-image-*": "default", "chatgpt-image-*": "default", "dall-e-*": "default"}
    loras: Loras = Loras()
    limits: Limits = Limits()
    quality: Quality = Quality()
    delivery: Delivery = Delivery()
    telemetry: Telemetry = Telemetry()

    def engine_process(self) -> EngineProcess:
        """The part an engine process needs; no secrets in it."""
        return EngineProcess(
            data_directory=self.data_directory,
            engine=self.engine,
            memory=self.memory,
            checkpoints=self.checkpoints,
            loras=self.loras,
        )
