"""Model names: what each stands for, whoever spells it and however."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sdxl_gateway.admission.model_names import ResolvedModel
from sdxl_gateway.config import HouseStyle, LoraWeight
from sdxl_gateway.core.ask import LoraRef
from sdxl_gateway.core.errors import AdapterRefused, InvalidRequest, ModelNotFound
from tests.kit.admission import DEMO, AdmissionKit, admission_kit, lora_file
from tests.kit.lora_files import write

LORAS = {"watercolor": "", "ink": "", "painters/Monet": "", "a/same": "", "b/same": ""}
STYLES = {
    "storybook": HouseStyle(checkpoint="other", loras=(LoraWeight(name="ink", weight=0.5),)),
    "bare": HouseStyle(loras=(LoraWeight(name="watercolor"),)),
    "snake": HouseStyle(checkpoint="snake"),
    "lost": HouseStyle(loras=(LoraWeight(name="watercolr"),)),
}
ALIASES = {
    "gpt-image-*": "default",
    "sd:1.5": "other",
    "exact": "other",
    "Fancy-?": "other+ink:0.3",
    "ring": "gnir",
    "gnir": "ring",
    "nowhere": "nothing-there",
}


def built(folder: Path, **settings: Any) -> AdmissionKit:
    usual: dict[str, Any] = {"checkpoints": {"demo": DEMO, "other": DEMO}, "models": STYLES, "aliases": ALIASES}
    return admission_kit(folder, LORAS, **(usual | settings))


@pytest.fixture
def home(tmp_path: Path) -> AdmissionKit:
    return built(tmp_path)


def told(chosen: ResolvedModel) -> tuple[str, list[tuple[str, float | None]]]:
    return chosen.checkpoint.name, [(lora.name, lora.weight) for lora in chosen.loras]


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        (None, ("demo", [])),
        ("", ("demo", [])),
        ("other", ("other", [])),
        (" OTHER ", ("other", [])),
        ("gpt-image-1.5", ("demo", [])),
        ("GPT-Image-1", ("demo", [])),
        ("fancy-7", ("other", [("ink", 0.3)])),
        ("fancy-7+watercolor", ("other", [("ink", 0.3), ("watercolor", None)])),
        ("gpt-image-1+ink:0.8", ("demo", [("ink", 0.8)])),
        ("GPT-Image-1.5 + ink + watercolor:.5", ("demo", [("ink", None), ("watercolor", 0.5)])),
        ("gpt-image-1:latest+ink", ("demo", [("ink", None)])),
        ("sd:1.5+ink", ("other", [("ink", None)])),
        ("watercolor", ("demo", [("watercolor", None)])),
        ("watercolor:0.8", ("demo", [("watercolor", 0.8)])),
        ("Watercolor : -0.5", ("demo", [("Watercolor", -0.5)])),
        ("demo+watercolor:0.8+ink", ("demo", [("watercolor", 0.8), ("ink", None)])),
        ("ink+watercolor:.5", ("demo", [("ink", None), ("watercolor", 0.5)])),
        ("painters/monet:4", ("demo", [("painters/monet", 4.0)])),
        ("monet", ("demo", [("monet", None)])),
        ("storybook", ("other", [("ink", 0.5)])),
        ("StoryBook+watercolor", ("other", [("ink", 0.5), ("watercolor", None)])),
        ("bare", ("demo", [("watercolor", None)])),
        ("bare+ink:0", ("demo", [("watercolor", None), ("ink", 0.0)])),
    ],
)
def test_meanings(home: AdmissionKit, name: str | None, meaning: object) -> None:
    assert told(home.admission.names.choose(name)) == meaning


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("any", ("demo", [])),
        ("sdxl-turbo", ("demo", [("ink", 0.1)])),
        ("sdxl-7", ("demo", [("ink", 0.2)])),
        ("sdxl-77", ("demo", [("ink", 0.3)])),
        ("SDXL-Base", ("other", [])),
        ("sdxl-base+watercolor", ("other", [("watercolor", None)])),
        ("other", ("other", [])),
        ("watercolor", ("demo", [("watercolor", None)])),
        ("monet", ("demo", [("monet", None)])),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_the_most_particular_alias_counts_wherever_it_stands(
    tmp_path: Path, name: str, meaning: object, turned: bool
) -> None:
    written = [
        ("*", "default"),
        ("sdxl-*", "demo+ink:0.1"),
        ("sdxl-?", "demo+ink:0.2"),
        ("sdxl-7*", "demo+ink:0.3"),
        ("sdxl-7", "demo+ink:0.2"),
        ("sdxl-base", "other"),
    ]
    aliases = dict(reversed(written)) if turned else dict(written)
    assert told(built(tmp_path, aliases=aliases).admission.names.choose(name)) == meaning


def test_a_pattern_swallows_no_lora(tmp_path: Path) -> None:
    names = built(tmp_path, aliases={"*": "default"}).admission.names
    for name in ("same", "ink+same", "nope:0.5", "nope+nope"):
        with pytest.raises(ModelNotFound):
            names.choose(name)


@pytest.mark.parametrize(
    ("default", "checkpoint"),
    [
        ("other", "other"),
        ("OTHER", "other"),
        ("storybook", "other"),
        ("fancy-1", "other"),
        ("other+ink", "other"),
        ("ink", "demo"),
        ("bare", "demo"),
    ],
)
def test_a_lora_alone_goes_on_the_default_models_checkpoint(tmp_path: Path, default: str, checkpoint: str) -> None:
    names = built(tmp_path, default_model=default).admission.names
    assert told(names.choose("watercolor")) == (checkpoint, [("watercolor", None)])
    assert names.choose(None) == names.choose("gpt-image-1") == names.choose(default)


def test_a_style_brings_itself_along_into_blends(home: AdmissionKit) -> None:
    assert home.admission.names.choose("storybook+watercolor").style is STYLES["storybook"]


def test_a_style_gives_both_weights(tmp_path: Path) -> None:
    style = HouseStyle(loras=(LoraWeight(name="ink", weight=0.5, text_encoder_weight=0),))
    chosen = built(tmp_path, models={"quiet": style}).admission.names.choose("quiet")
    assert list(chosen.loras) == [LoraRef("ink", 0.5, 0.0)]


def test_a_checkpoint_hides_a_lora_of_its_name_but_not_in_a_blend(tmp_path: Path) -> None:
    names = admission_kit(tmp_path, {"demo": ""}).admission.names
    assert told(names.choose("demo")) == ("demo", [])
    assert told(names.choose("demo+demo:0.5")) == ("demo", [("demo", 0.5)])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("otherr", "The model 'otherr' does not exist. Did you mean 'other'?"),
        ("storybok", "The model 'storybok' does not exist. Did you mean 'storybook'?"),
        ("watercolour", "The model 'watercolour' does not exist. Did you mean 'watercolor'?"),
        ("otherr+ink", "The model 'otherr' does not exist. Did you mean 'other'?"),
        ("demo+watercolour:0.8", "The LoRA 'watercolour' does not exist. Did you mean 'watercolor'?"),
        ("ink+demo", "The LoRA 'demo' does not exist."),
        (
            "demo:0.5+ink",
            "The LoRA 'demo' does not exist. A model of that name stands first in a blend",
        ),
        ("gpt-image-1:0.5", "A model of that name stands first in a blend, without a weight."),
        ("gpt-image-1+no-such-lora", "The LoRA 'no-such-lora' does not exist."),
        ("gpt-image-1+watercolour:0.8", "The LoRA 'watercolour' does not exist. Did you mean 'watercolor'?"),
        ("fancy-7+ink+otherr", "The LoRA 'otherr' does not exist."),
        ("exact+nope", "The LoRA 'nope' does not exist."),
        ("nope+gpt-image-1", "The model 'nope' does not exist."),
        ("zzz", "The model 'zzz' does not exist."),
        ("same", "The LoRA 'same' could be 'a/same' or 'b/same'."),
        ("lost", "The LoRA 'watercolr' does not exist. Did you mean 'watercolor'?"),
        ("nowhere", "The model 'nothing-there' does not exist."),
        ("ring", "leads back to itself"),
        ("ring+ink", "leads back to itself"),
        ("snake", "leads back to itself"),
        ("../../etc/passwd", "does not exist"),
        ("ink:+0.5", "The model 'ink:' does not exist. Did you mean 'ink'?"),
    ],
)
def test_unknown_names(home: AdmissionKit, name: str, says: str) -> None:
    with pytest.raises(ModelNotFound) as refused:
        home.admission.names.choose(name)
    assert says in refused.value.message
    assert (refused.value.param, refused.value.code) == ("model", "model_not_found")


@pytest.mark.parametrize("name", ["+", "demo+", "+ink", "demo++ink", "demo+ink:4.1", "ink:-99", "x" * 513])
def test_names_that_cannot_be_read(home: AdmissionKit, name: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        home.admission.names.choose(name)
    assert refused.value.param == "model"


def test_every_single_name_on_offer(home: AdmissionKit) -> None:
    names = home.admission.names.names()
    assert names == ["demo", "other", *STYLES, "a/same", "b/same", "ink", "painters/Monet", "watercolor"]


@pytest.mark.parametrize("name", ["a+b", "a+b:0.5", "demo+a+b", "ink+A+B:0.5+watercolor", "sets/c:1", "demo+c:1", "c"])
def test_a_file_that_cannot_be_asked_for_by_its_name_says_so(home: AdmissionKit, name: str) -> None:
    for file in ("a+b", "sets/c:1"):
        write(home.settings.loras.directory / f"{file}.safetensors", lora_file(file))
    home.adapters.scan()
    with pytest.raises(AdapterRefused, match="rename it"):
        home.library.model(name)
