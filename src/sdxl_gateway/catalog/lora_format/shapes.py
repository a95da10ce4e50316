"""Checks whether the shapes of a LoRA fit a layer; refusals name the layer and both shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

from sdxl_gateway.catalog.lora_format.module_names import CLIP_ENCODERS
from sdxl_gateway.catalog.model_files import published_name
from sdxl_gateway.core.errors import AdapterRefused

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

REQUIRED_ROLES = {
    "lora": ({"down", "up"},),
    "loha": ({"w1_a", "w1_b", "w2_a", "w2_b"},),
    "lokr": ({"w1", "w2"}, {"w1", "w2_a", "w2_b"}, {"w1_a", "w1_b", "w2"}, {"w1_a", "w1_b", "w2_a", "w2_b"}),
    "full": ({"diff"}, {"diff_b"}, {"diff", "diff_b"}),
}
OPTIONAL_ROLES = {
    "lora": {"mid", "alpha", "dora_scale", "bias", "diff_b"},
    "loha": {"t1", "t2", "alpha", "dora_scale", "diff_b"},
    "lokr": {"t2", "alpha", "dora_scale", "diff_b"},
    "full": {"alpha"},
}
_UNBIASED = (".to_q", ".to_k", ".to_v", ".text_projection", ".token_embedding", ".position_embedding")


def check_roles(module: str, algorithm: str, roles: set[str]) -> None:
    """Raises AdapterRefused if a tensor is missing, or is there that the algorithm does not use."""
    needed = roles - OPTIONAL_ROLES[algorithm]
    if needed in REQUIRED_ROLES[algorithm]:
        return
    every = set().union(*REQUIRED_ROLES[algorithm])
    strange = sorted(needed - every)
    if strange:
        raise AdapterRefused(
            f"The LoRA brings '{strange[0]}' for the layer '{module}', which does not go with the rest."
        )
    raise AdapterRefused(f"The LoRA lacks tensors for the layer '{module}': it has only {', '.join(sorted(roles))}.")


def check_shapes(module: str, algorithm: str, tensors: Shapes, weight: Shape) -> None:
    """Raises AdapterRefused unless the tensors, by role, make a change of exactly the shape `weight`."""
    _check_small(module, tensors)
    _check_bias(module, tensors, weight)
    made = _MADE[algorithm](tensors) if tensors.keys() - {"diff_b", "alpha"} else weight
    if made is None:
        raise AdapterRefused(f"The LoRA's tensors for the layer '{module}' do not fit each other: {_told(tensors)}.")
    if not _same(made, weight):
        raise AdapterRefused(
            f"The LoRA changes the layer '{module}' as {_text(made)}, but in this checkpoint it is {_text(weight)}."
        )
    _check_magnitude(module, tensors.get("dora_scale"), weight)


def _check_small(module: str, tensors: Shapes) -> None:
    for role, shape in tensors.items():
        if role == "alpha" and prod(shape) != 1:
            raise AdapterRefused(f"The LoRA's alpha for the layer '{module}' is {_text(shape)}, not one number.")
        if prod(shape) == 0:
            raise AdapterRefused(f"The LoRA's '{role}' for the layer '{module}' is empty.")


def _check_bias(module: str, tensors: Shapes, weight: Shape) -> None:
    for role in ("bias", "diff_b"):
        if (shape := tensors.get(role)) is None:
            continue
        if module.endswith(_UNBIASED):
            raise AdapterRefused(f"The LoRA changes the bias of the layer '{module}', which has none.")
        if not _same(shape, weight[:1]):
            raise AdapterRefused(
                f"The LoRA changes the bias of the layer '{module}' as {_text(shape)}, but it is {_text(weight[:1])}."
            )


def _check_magnitude(module: str, magnitude: Shape | None, weight: Shape) -> None:
    if magnitude is None:
        return
    inputs = weight[1] if len(weight) > 1 else 1
    # (rows,), (rows, 1, …) and PEFT's (1, rows, 1, 1) for convolutions; older LyCORIS has (1, inputs, …).
    by_row = prod(magnitude) == weight[0] == magnitude[1 if len(magnitude) == 4 and magnitude[0] == 1 else 0]
    if not by_row and not (len(magnitude) > 1 and prod(magnitude) == inputs == magnitude[1]):
        raise AdapterRefused(
            f"The LoRA's DoRA magnitude for the layer '{module}' is {_text(magnitude)}; the layer is {_text(weight)}."
        )


def check_token(token: str, encoder: str, vectors: Shape, shapes: Shapes) -> None:
    """Raises AdapterRefused unless `vectors` (count, width) can replace a word of the encoder (clip_l, clip_g)."""
    if not token.strip():
        raise AdapterRefused("The LoRA brings an embedding without a name.")
    width = word_shape(encoder, shapes)
    if len(vectors) not in (1, 2) or vectors[-1:] != width or prod(vectors) == 0:
        raise AdapterRefused(
            f"The embedding '{token[:100]}' is {_text(vectors)} for {encoder}, where words are {_text(width)} wide."
        )


def word_shape(encoder: str, shapes: Shapes) -> Shape:
    """(width,) of a word of the encoder (clip_l, clip_g); empty if a model of these `shapes` lacks the encoder."""
    return shapes.get(published_name(CLIP_ENCODERS[encoder], "embeddings.token_embedding"), ())[1:]


def _lora(t: Shapes) -> Shape | None:
    up, down, mid = t["up"], t["down"], t.get("mid")
    if len(up) < 2 or len(down) < 2 or prod(up[2:]) != 1:
        return None
    if mid is None:
        return (up[0], *down[1:]) if up[1] == down[0] else None
    if prod(down[2:]) != 1 or len(mid) < 2 or mid[:2] != (up[1], down[0]):
        return None
    return (up[0], down[1], *mid[2:])


def _loha(t: Shapes) -> Shape | None:
    if ("t1" in t) != ("t2" in t):
        return None
    halves = [_product(t[f"w{i}_a"], t[f"w{i}_b"], t.get(f"t{i}")) for i in (1, 2)]
    return halves[0] if halves[0] == halves[1] else None


def _lokr(t: Shapes) -> Shape | None:
    first = t["w1"] if "w1" in t else _product(t["w1_a"], t["w1_b"], None)
    second = t["w2"] if "w2" in t else _product(t["w2_a"], t["w2_b"], t.get("t2"))
    if first is None or second is None or len(first) < 2 or len(second) < 2 or prod(first[2:]) != 1:
        return None
    return (first[0] * second[0], first[1] * second[1], *second[2:])


def _product(a: Shape, b: Shape, core: Shape | None) -> Shape | None:
    if len(a) != 2 or len(b) < 2:
        return None
    if core is None:
        return (a[0], *b[1:]) if a[1] == b[0] else None
    fits = len(core) > 2 and len(b) == 2 and core[:2] == (a[0], b[0])
    return (a[1], b[1], *core[2:]) if fits else None


def _full(t: Shapes) -> Shape | None:
    return t["diff"]


_MADE: Mapping[str, Callable[[Shapes], Shape | None]] = {"lora": _lora, "loha": _loha, "lokr": _lokr, "full": _full}


def _same(made: Shape, weight: Shape) -> bool:
    """Whether they are equal except for sides of 1, or for a kernel window that is folded into the inputs."""
    if made[:1] != weight[:1]:
        return False
    plain_made, plain_weight = _plain(made[1:]), _plain(weight[1:])
    return plain_made == plain_weight or (len(made) == 2 and made[1] == prod(weight[1:]))


def _plain(shape: Shape) -> Shape:
    return tuple(side for side in shape if side != 1)


def rank_of(algorithm: str, tensors: Shapes) -> int | None:
    """The inner dimension of a layer's factors; None if it is not factored."""
    role = {"lora": "down", "loha": "w1_b"}.get(algorithm)
    if algorithm == "lokr":
        role = next((r for r in ("w2_b", "w1_b") if r in tensors), None)
    return tensors[role][0] if role else None


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "a single number"


def _told(tensors: Shapes) -> str:
    return ", ".join(f"{role} {_text(shape)}" for role, shape in sorted(tensors.items()))
