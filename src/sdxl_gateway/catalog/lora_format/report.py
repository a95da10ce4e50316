"""The report of a LoRA for callers: what matched, how large it is, what it was made for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sdxl_gateway.catalog.lora_format.base_models import base_family
from sdxl_gateway.catalog.lora_format.plan import LoraPlan
from sdxl_gateway.catalog.model_files import COMPONENTS
from sdxl_gateway.catalog.safetensors_header import Header
from sdxl_gateway.core.text import cleaned

MAX_LISTED_NAMES = 20
MAX_NAME_CHARS = 200
MAX_VALUE_CHARS = 200
SUMMARY_KEYS = (
    "ss_output_name",
    "ss_base_model_version",
    "ss_sd_model_name",
    "ss_network_module",
    "ss_network_dim",
    "ss_network_alpha",
    "ss_resolution",
    "modelspec.architecture",
    "modelspec.title",
    "modelspec.author",
    "modelspec.license",
    "modelspec.resolution",
    "modelspec.date",
)


@dataclass(frozen=True, slots=True)
class LoraReport:
    """The effect of a LoRA on one checkpoint.

    `algorithms` and `parts` count modules ("lora": 722; "unet": 722); `unmatched` lists at most 20 of the
    `unmatched_count` tensors that change nothing; `embeddings` are bundled trigger tokens, which apply if a prompt
    contains them and the text encoder weight is not 0. `notes` tell in sentences how ambiguities were resolved.
    """

    dialect: str
    algorithms: Mapping[str, int]
    ranks: tuple[int, ...]
    parts: Mapping[str, int]
    matched_count: int
    unmatched_count: int
    unmatched: tuple[str, ...]
    embeddings: tuple[str, ...]
    trigger_words: tuple[str, ...]
    base_family: str | None
    dtype: str
    size_bytes: int
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)


def make_report(plan: LoraPlan, header: Header, *, trigger_words: tuple[str, ...], zero_alphas: int = 0) -> LoraReport:
    """The report of a file with this header.

    `trigger_words` are from its side-car or its metadata; `zero_alphas` is the number of alphas that are 0.
    """
    components = Counter(part.module.partition(".")[0] for part in plan.parts)
    return LoraReport(
        dialect=plan.dialect,
        algorithms=dict(Counter(_algorithm(part.algorithm, part.tensors) for part in plan.parts)),
        ranks=plan.ranks,
        parts={name: components[name] for name in COMPONENTS if components[name]},
        matched_count=sum(len(part.tensors) for part in plan.parts),
        unmatched_count=len(plan.unmatched),
        unmatched=tuple(name[:MAX_NAME_CHARS] for name in plan.unmatched[:MAX_LISTED_NAMES]),
        embeddings=tuple(token[:MAX_NAME_CHARS] for token in sorted(plan.tokens)[:MAX_LISTED_NAMES]),
        trigger_words=trigger_words,
        base_family=base_family(header),
        dtype=main_dtype(header),
        size_bytes=header.data_start + header.data_bytes,
        notes=tuple(_notes(plan, zero_alphas)),
        metadata=metadata_summary(header.metadata),
    )


def _notes(plan: LoraPlan, zero_alphas: int) -> Iterator[str]:
    if plan.told_alpha is not None:
        yield f"No tensor holds an alpha; the one in the metadata is used ({plan.told_alpha.words})."
        zero_alphas = 0 if plan.told_alpha.alpha else 1
    if zero_alphas:
        yield f"{zero_alphas} of {max(len(plan.alpha_keys), 1)} alphas are 0, which counts as none: their scale is 1."


def _algorithm(name: str, roles: Mapping[str, str]) -> str:
    return f"{name}+dora" if "dora_scale" in roles else name


def main_dtype(header: Header) -> str:
    """The type of most of the bytes."""
    sizes: dict[str, int] = {}
    for tensor in header.tensors.values():
        sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + tensor.end - tensor.start
    return max(sizes, key=lambda dtype: sizes[dtype])


def metadata_summary(metadata: Mapping[str, str]) -> dict[str, str]:
    """The few entries worth showing, each shortened to one line."""
    shown = {key: cleaned(metadata[key], MAX_VALUE_CHARS) for key in SUMMARY_KEYS if key in metadata}
    return {key: value for key, value in shown.items() if value}
