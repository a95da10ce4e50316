"""Every dialect as its trainer writes it, on every kind of layer: the file has exactly its effect, never none.

test_golden.py tests the step from changes to weights, at every weight and in every dtype.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from lycoris.modules.locon import LoConModule
from safetensors.torch import save_file
from torch import Tensor

from sdxl_gateway.catalog.lora_format.module_names import sgm_names
from sdxl_gateway.catalog.lora_format.plan import plan_lora
from sdxl_gateway.catalog.safetensors_header import read_header
from sdxl_gateway.config import HeaderCaps
from tests.engine.lora.kit import WEIGHTS, assert_one_rounding
from tests.engine.lora.oracle import ALPHA, CONV, LINEAR, RANK, Train, Trained, lycoris, norm
from tests.engine.lora.press import SHAPES, Press, demo_components, open_press, shapes_of
from tests.kit.lora_files import kohya_name

UNET, TEXT_1, TEXT_2, CONVOLUTION = PLACES = (
    "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0",
    "text_encoder.text_model.encoder.layers.0.self_attn.out_proj",
    "text_encoder_2.text_model.encoder.layers.1.self_attn.out_proj",
    "unet.down_blocks.1.resnets.0.conv1",
)
NORMS = ("unet.mid_block.attentions.0.norm", "text_encoder.text_model.encoder.layers.0.layer_norm1")
SGM = {f"unet.{name}": sgm for name, sgm in sgm_names([n[5:] for n in SHAPES if n.startswith("unet.")])}

LORA = {"up": ".lora_up.weight", "down": ".lora_down.weight", "mid": ".lora_mid.weight"}
HADA = {role: f".hada_{role}" for role in ("w1_a", "w1_b", "w2_a", "w2_b", "t1", "t2")}
LOKR = {role: f".lokr_{role}" for role in ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "t2")}
KOHYA = {"lora": LORA, "loha": HADA, "lokr": LOKR, "full": {"diff": ".diff", "diff_b": ".diff_b"}}
NORM = {"full": {"diff": ".w_norm", "diff_b": ".b_norm"}}
PEFT = {"lora": {"up": ".lora_B.weight", "down": ".lora_A.weight", "bias": ".lora_B.bias"}}
NAMED_PEFT = {"lora": {"up": ".lora_B.default.weight", "down": ".lora_A.default.weight"}}
OLD = {"lora": {"up": ".up.weight", "down": ".down.weight"}}
Suffixes = Mapping[str, Mapping[str, str]]
Metadata = Callable[[str, Trained], dict[str, str]]


def say_nothing(module: str, trained: Trained) -> dict[str, str]:
    return {}


def peft_metadata(module: str, trained: Trained) -> dict[str, str]:
    """The metadata that diffusers writes with PEFT's names."""
    component = module.partition(".")[0]
    rank_stabilised = trained.scale != ALPHA / RANK
    config = {"r": RANK, "lora_alpha": ALPHA, "use_rslora": rank_stabilised}
    return {"lora_adapter_metadata": json.dumps({f"{component}.{key}": value for key, value in config.items()})}


def one_trainer(module: str) -> str:
    component, _, rest = module.partition(".")
    return {"unet": f"unet.{rest}", "text_encoder": f"clip_l.{rest}", "text_encoder_2": f"clip_g.{rest}"}[component]


def sgm(module: str) -> str:
    return f"lora_unet_{SGM[module].replace('.', '_')}" if module in SGM else kohya_name(module)


def old_processor(module: str) -> str:
    """The names of diffusers before PEFT, where an attention's processor holds the weights, without an index."""
    head, _, projection = module.removesuffix(".0").rpartition(".")
    if module.startswith("unet."):
        return f"{head}.processor.{projection}_lora"
    return f"{head}.to_{projection.removesuffix('_proj')}_lora"


@dataclass(frozen=True)
class Spelling:
    """How a trainer names `module`'s tensors by algorithm and role, and what it writes into metadata."""

    name: Callable[[str], str]
    suffixes: Suffixes
    magnitude: str = ".dora_scale"
    metadata: Metadata = say_nothing
    told_as: str | None = None

    def tensors(self, module: str, trained: Trained) -> dict[str, Tensor]:
        suffixes = {"alpha": ".alpha", "dora_scale": self.magnitude, **self.suffixes[trained.algorithm]}
        return {self.name(module) + suffixes[role]: t.contiguous() for role, t in trained.tensors.items()}


SPELLINGS = {
    "kohya": Spelling(kohya_name, KOHYA),
    "kohya on SGM": Spelling(sgm, KOHYA),
    "kohya with dots": Spelling(str, KOHYA),
    "kohya with dots on SGM": Spelling(lambda m: f"diffusion_model.{SGM[m]}" if m in SGM else m, KOHYA),
    "LyCORIS prefix": Spelling(lambda m: kohya_name(m).replace("lora_", "lycoris_"), KOHYA),
    "norms": Spelling(kohya_name, NORM),
    "old diffusers": Spelling(old_processor, OLD, told_as="diffusers (old)"),
    "old diffusers, linear layers": Spelling(lambda m: f"{m}.lora_linear_layer", OLD, told_as="diffusers (old)"),
    "old diffusers, all layers": Spelling(lambda m: f"{m}.lora", OLD, told_as="diffusers (old)"),
    "diffusers": Spelling(str, PEFT, ".lora_magnitude_vector", peft_metadata, "PEFT"),
    "diffusers, magnitude as a weight": Spelling(str, PEFT, ".lora_magnitude_vector.weight", peft_metadata, "PEFT"),
    "PEFT with its adapter's name": Spelling(
        str, NAMED_PEFT, ".lora_magnitude_vector.default.weight", peft_metadata, "PEFT"
    ),
    "OneTrainer": Spelling(one_trainer, KOHYA, metadata=lambda *_: {"ot_branch": "master"}, told_as="OneTrainer"),
}

OWN_ALPHA: Train = lycoris(LoConModule, "lora", alpha=RANK)


def without_alpha(weight: Tensor) -> Trained:
    """A file without alpha, for which the scale is 1."""
    trained = OWN_ALPHA(weight)
    return replace(trained, tensors={role: t for role, t in trained.tensors.items() if role != "alpha"})


LYCORIS = {name: train for name, train in CONV.items() if "PEFT" not in name}
FEW = ("lora", "loha", "lokr, both factorised", "lokr, whole w1", "dora by row", "dora by input", "full")
OF_PEFT = ("lora, PEFT", "lora, PEFT rank-stabilised", "dora, PEFT", "lora, PEFT with bias")
TRAINED: dict[str, Mapping[str, Train]] = {
    "kohya": LYCORIS,
    "kohya on SGM": {name: LYCORIS[name] for name in (*FEW, "lora with mid")},
    "kohya with dots": {name: LYCORIS[name] for name in FEW},
    "kohya with dots on SGM": {"lora": LYCORIS["lora"]},
    "LyCORIS prefix": {name: LYCORIS[name] for name in FEW},
    "norms": {"norm and bias": norm},
    "old diffusers": {"lora": without_alpha},
    "old diffusers, linear layers": {"lora": without_alpha},
    "old diffusers, all layers": {"lora": without_alpha},
    "diffusers": {name: LINEAR[name] for name in OF_PEFT},
    "diffusers, magnitude as a weight": {"dora, PEFT": LINEAR["dora, PEFT"]},
    "PEFT with its adapter's name": {name: LINEAR[name] for name in OF_PEFT[:3]},
    "OneTrainer": {name: LYCORIS[name] for name in ("lora", "dora by row", "lora with mid")},
}


@dataclass(frozen=True)
class Case:
    spelling: str
    trained: str
    module: str
    train: Train = field(repr=False)

    def __str__(self) -> str:
        return f"{self.spelling}: {self.trained} on {self.module.replace('text_model.encoder.', '')}"


def has_place(spelling: str, trained: str, module: str) -> bool:
    if module == CONVOLUTION:
        return spelling not in ("old diffusers", "old diffusers, linear layers")
    # For text encoders SGM's names are kohya's, and only convolutions have a core tensor.
    return (trained in LINEAR or trained in ("lora", "norm and bias")) and not ("SGM" in spelling and module != UNET)


CASES = [
    Case(spelling, name, module, train)
    for spelling, trains in TRAINED.items()
    for name, train in trains.items()
    for module in (NORMS if spelling == "norms" else PLACES)
    if has_place(spelling, name, module)
]


@pytest.fixture(scope="module")
def press(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Press]:
    with open_press(tmp_path_factory.mktemp("data"), demo_components()) as one:
        yield one


def assert_changes(press: Press, source: Path, expected: Mapping[str, Tensor]) -> None:
    """The file changes exactly these parameters, at weight 1 to these values (float64), and in proportion at others."""
    found = press.changes(source)
    assert found.keys() == expected.keys()
    for name, wanted in expected.items():
        layer, before = press.layers[name], press.layers[name].parameter.double()
        assert found[name].shape == layer.shape
        change = found[name].dense(layer.parameter.reshape(layer.shape))
        if factors := found[name].low_rank():
            assert torch.equal((factors.up.float() * factors.scale) @ factors.down.float(), change)
        for strength in WEIGHTS:
            shift = strength * change.double().view(before.shape)
            assert_one_rounding(before + shift, before + strength * (wanted - before))
            assert name.endswith(".bias") or float(shift.abs().max()) > 1e-3


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_trained_file_makes_its_trainers_change(press: Press, tmp_path: Path, case: Case) -> None:
    spelling, trained = SPELLINGS[case.spelling], case.train(press.weight(f"{case.module}.weight"))
    path = tmp_path / "one.safetensors"
    save_file(spelling.tensors(case.module, trained), path, spelling.metadata(case.module, trained))
    expected = {f"{case.module}.weight": trained.weight}
    if trained.bias is not None:
        expected[f"{case.module}.bias"] = press.base_bias(case.module).double() + trained.bias
    assert_changes(press, path, expected)
    plan = plan_lora(read_header(path, HeaderCaps()), SHAPES)
    assert spelling.told_as in (None, plan.dialect)
    assert plan.unmatched == ()


def test_the_press_knows_the_shapes_that_the_checkpoints_headers_tell(press: Press) -> None:
    assert shapes_of(press.components) == SHAPES


def test_the_table_is_whole() -> None:
    """Every dialect and algorithm that trainers write has a row for each kind of layer it can have."""
    seen = {(case.spelling, case.module) for case in CASES}
    for spelling in ("kohya", "kohya with dots", "LyCORIS prefix", "diffusers", "OneTrainer"):
        assert {(spelling, module) for module in PLACES} <= seen
    assert {name for case in CASES if case.spelling == "kohya" for name in [case.trained]} == set(LYCORIS)


@pytest.mark.parametrize("module", PLACES, ids=["unet", "te1", "te2", "conv"])
@pytest.mark.parametrize("told", ["ss_network_alpha", "lora_alpha"])
@pytest.mark.parametrize("alpha", [ALPHA, 0.0])
def test_an_alpha_in_the_metadata_alone(press: Press, tmp_path: Path, told: str, alpha: float, module: str) -> None:
    rows, columns, *window = SHAPES[module]
    up, down = torch.randn(rows, RANK, *[1] * len(window)), torch.randn(RANK, columns, *window)
    name = kohya_name(module)
    factors = {f"{name}.lora_up.weight": up, f"{name}.lora_down.weight": down}
    save_file(factors, tmp_path / "told.safetensors", {told: str(alpha)})
    save_file(factors | {f"{name}.alpha": torch.tensor(alpha)}, tmp_path / "held.safetensors")
    layer = press.layers[f"{module}.weight"]
    changes = [press.changes(tmp_path / f"{kind}.safetensors")[f"{module}.weight"] for kind in ("told", "held")]
    dense = [change.dense(layer.parameter.reshape(layer.shape)) for change in changes]
    assert torch.equal(dense[0], dense[1])
    scale = (alpha or RANK) / RANK
    assert torch.allclose(dense[0], scale * (up.flatten(1) @ down.flatten(1)), rtol=1e-5, atol=1e-5)


FILE_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)


@pytest.mark.parametrize("module", PLACES, ids=["unet", "te1", "te2", "conv"])
@pytest.mark.parametrize("dtype", FILE_DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
def test_each_type_a_file_may_hold(press: Press, tmp_path: Path, dtype: torch.dtype, module: str) -> None:
    rows, columns, *window = SHAPES[module]
    up, down = torch.randn(rows, RANK, *[1] * len(window)).to(dtype), torch.randn(RANK, columns, *window).to(dtype)
    name = kohya_name(module)
    tensors = {f"{name}.lora_up.weight": up, f"{name}.lora_down.weight": down, f"{name}.alpha": torch.tensor(ALPHA)}
    save_file(tensors, tmp_path / "one.safetensors")
    weight = press.base_weight(module)
    change = (up.double().flatten(1) @ down.double().flatten(1)).view(weight.shape) * (ALPHA / RANK)
    assert_changes(press, tmp_path / "one.safetensors", {f"{module}.weight": weight.double() + change})


@pytest.mark.parametrize("components", [("unet",), ("text_encoder",), ("text_encoder_2",), ("unet", "text_encoder_2")])
def test_a_file_for_a_part_of_the_model_leaves_the_rest(
    press: Press, tmp_path: Path, components: tuple[str, ...]
) -> None:
    """Files trained only on the UNet, or only on one text encoder, are common."""
    modules = [module for module in PLACES if module.startswith(tuple(f"{name}." for name in components))]
    tensors: dict[str, Tensor] = {}
    for module in modules:
        tensors |= SPELLINGS["kohya"].tensors(module, LYCORIS["lora"](press.weight(f"{module}.weight")))
    save_file(tensors, tmp_path / "part.safetensors")
    with press.printed(tmp_path / "part.safetensors", 1.0):
        changed = press.changed()
    assert len(changed) == len(modules)
    assert {name.partition(".")[0] for name in changed} == set(components)


def test_a_bundle_changes_layers_and_teaches_its_word(press: Press, tmp_path: Path) -> None:
    spelling, trained = SPELLINGS["OneTrainer"], LYCORIS["lora"](press.weight(f"{UNET}.weight"))
    embedding = "text_model.embeddings.token_embedding"
    vectors = {
        f"bundle_emb.<cat>.{name}": torch.randn(2, SHAPES[f"{component}.{embedding}"][1])
        for name, component in (("clip_l", "text_encoder"), ("clip_g", "text_encoder_2"))
    }
    save_file(spelling.tensors(UNET, trained) | vectors, tmp_path / "bundle.safetensors")
    with press.printed(tmp_path / "bundle.safetensors", 1.0):
        taught = press.switcher.words["<cat>"]
        assert len(press.changed()) == 1
    assert torch.equal(taught["text_encoder"], vectors["bundle_emb.<cat>.clip_l"])
    assert torch.equal(taught["text_encoder_2"], vectors["bundle_emb.<cat>.clip_g"])
    assert press.switcher.words == {}
