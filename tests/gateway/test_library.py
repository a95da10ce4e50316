"""What is on offer, and how warm it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from sdxl_gateway.catalog.checkpoint_folder.versions import versioned
from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.config import DEMO_LORAS, CheckpointFolder, HouseStyle, LoraWeight, RolloutArm
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import AdapterRefused, Cancelled, InvalidRequest, ModelNotFound, WrongState
from sdxl_gateway.core.events import EngineLost, Event, Failed, Finished, JobAccepted, Measured, MemoryHeld, StepTaken
from sdxl_gateway.core.samplers import SAMPLERS, SCHEDULES
from sdxl_gateway.gateway.library import ModelLibrary
from tests.kit.admission import DEMO, AdmissionKit, admission_kit, demo, lora_file
from tests.kit.embedding_files import write_embedding
from tests.kit.ip_adapters import section
from tests.kit.lora_files import file_bytes, lora_tensors, write
from tests.kit.model_folders import change_json, copy_of_demo

SIDECAR = 'weight = 0.8\ntrigger_words = ["inky"]\nsteps = 12\ndescription = "Black lines."'
STYLES = {
    "storybook": HouseStyle(loras=(LoraWeight(name="INK"), LoraWeight(name="watercolor"))),
    "lost": HouseStyle(loras=(LoraWeight(name="nope"),)),
}


DEMO_VERSION = versioned("demo", demo().digest)


@pytest.fixture
def home(tmp_path: Path) -> AdmissionKit:
    aliases = {"gpt-image-*": "default", "pretty": "demo+ink", "usual": "default"}
    return admission_kit(tmp_path, {"ink": SIDECAR, "watercolor": ""}, aliases=aliases, models=STYLES)


async def warmed(home: AdmissionKit, model: str, tier: str = "vram", engine: str = "0") -> None:
    """As if the model's LoRAs had been painted with and that engine held them now."""
    recipe = (await home.admit(model=model)).recipe
    home.library.on_event(JobAccepted("job-1", "a", recipe, (), arrived=1_700_000_000.0))
    held = MemoryHeld(
        warm={tier: recipe.blend.digests}, checkpoints={tier: (versioned(recipe.checkpoint, recipe.checkpoint_digest),)}
    )
    home.library.on_event(Measured(engine, held))


async def bytes_of(data: bytes) -> AsyncIterator[bytes]:
    yield data


def test_everything_by_name(home: AdmissionKit) -> None:
    home.library.on_event(Measured("0", MemoryHeld(checkpoints={"vram": (DEMO_VERSION,)})))
    cards = {card.id: (card.kind, card.description, card.ready) for card in home.library.models()}
    assert cards == {
        "demo": ("checkpoint", "", "warm"),
        "storybook": ("style", "INK + watercolor", "cold"),
        "lost": ("style", "nope", "cold"),
        "pretty": ("alias", "demo+ink", "cold"),
        "usual": ("alias", "demo", "warm"),
        "ink": ("lora", "Black lines.", "cold"),
        "watercolor": ("lora", "", "cold"),
    }
    assert all(card.created > 0 for card in home.library.models())


def test_a_checkpoint_is_as_warm_as_an_engine_has_it(home: AdmissionKit) -> None:
    told = home.library.on_event
    assert home.library.model("demo").ready == "cold"
    told(Measured("0", MemoryHeld(checkpoints={"host": (DEMO_VERSION,)})))
    told(Measured("1", MemoryHeld(checkpoints={"vram": ("demo@another",)})))
    assert (home.library.model("demo").ready, home.library.checkpoints.cards()[0]["tier"]) == ("warm", "host")
    told(EngineLost("0"))
    assert home.library.model("demo").ready == home.library.model("usual").ready == "cold"


async def test_a_checkpoint_of_the_folder_is_warm_in_the_version_that_lies_there(tmp_path: Path) -> None:
    folder = copy_of_demo(tmp_path / "checkpoints" / "other")
    (tmp_path / "checkpoints" / "other.toml").write_text('steps = 7\ndescription = "Rounder."')
    (tmp_path / "checkpoints" / "old.ckpt").write_bytes(b"pickled")
    home = admission_kit(tmp_path, checkpoint_folder=CheckpointFolder(directory=tmp_path / "checkpoints"))
    recipe = (await home.admit(model="OTHER")).recipe
    assert (recipe.checkpoint, recipe.steps, recipe.checkpoint_digest) == ("other", 7, home.checkpoints["other"].digest)
    held = MemoryHeld(checkpoints={"vram": (f"other@{recipe.checkpoint_digest}",)})
    home.library.on_event(Measured("0", held))
    card = home.library.model("other")
    assert (card.kind, card.description, card.ready) == ("checkpoint", "Rounder.", "warm")
    assert [(one["id"], one["configured"], one["tier"]) for one in home.library.checkpoints.cards()] == [
        ("demo", True, "disk"),
        ("other", False, "vram"),
    ]
    assert [one["file"] for one in home.library.checkpoints.problems()] == ["old.ckpt"]
    changed = await home.library.checkpoints.describe("other", {"steps": None, "clip_skip": 2})
    assert (changed["in_folder"], changed["side_car"]) == (True, {"description": "Rounder.", "clip_skip": 2})
    assert (changed["recommended"]["clip_skip"], changed["tier"]) == (2, "vram")
    with pytest.raises(ModelNotFound):
        await home.library.checkpoints.describe("other", {"steps": 1}, Caller(models=("demo",)))
    change_json(folder / "scheduler" / "scheduler_config.json", timestep_spacing="trailing")
    home.checkpoints.scan()
    assert home.library.model("other").ready == "cold", "another content, not loaded yet"


@pytest.mark.parametrize("tier", ["vram", "host"])
async def test_loras_in_memory_are_warm_under_every_spelling(home: AdmissionKit, tier: str) -> None:
    await warmed(home, "ink+watercolor", tier)
    for name in ("ink", "demo+INK:0.3", "storybook", "watercolor+ink", "pretty"):
        assert home.library.model(name).ready == "warm"
    assert (await home.library.lora("ink"))["tier"] == tier
    home.library.on_event(Measured("0", MemoryHeld()))
    assert home.library.model("storybook").ready == "cold"
    assert (await home.library.lora("ink"))["tier"] == "disk"


async def test_a_lora_is_on_while_an_engine_has_it_in_its_weights(home: AdmissionKit) -> None:
    await warmed(home, "ink+watercolor")
    digest = (await home.library.lora("ink"))["digest"]
    assert digest is not None
    home.library.on_event(Measured("1", MemoryHeld(warm={"vram": (digest,)}, blend=((digest, 0.5),))))
    assert {one["name"]: one["on"] for one in home.library.loras()} == {"ink": True, "watercolor": False}
    home.library.on_event(EngineLost("1"))
    assert not any(one["on"] for one in home.library.loras())


async def test_other_measurements_change_nothing(home: AdmissionKit) -> None:
    await warmed(home, "ink")
    home.library.on_event(Measured("0", StepTaken(1.0, 1, 1.0)))
    assert home.library.model("ink").ready == "warm"


async def test_a_blend_is_as_cold_as_its_coldest_part(home: AdmissionKit) -> None:
    await warmed(home, "ink")
    card = home.library.model("demo+ink:0.5+watercolor")
    assert (card.kind, card.ready, card.description) == ("blend", "cold", "demo + ink + watercolor")


def test_aliases_with_wildcards_can_be_looked_up(home: AdmissionKit) -> None:
    card = home.library.model("gpt-image-1")
    assert (card.id, card.kind, card.description) == ("gpt-image-1", "alias", "demo")


def test_one_model_says_what_may_be_asked_of_it(home: AdmissionKit) -> None:
    told = home.library.model("demo").capabilities
    assert told is not None
    assert told["operations"] == ["generate", "edit", "vary"]
    assert (told["samplers"], told["schedules"]) == (list(SAMPLERS), list(SCHEDULES))
    assert (told["prompt_syntaxes"], told["prompt_tokens"], told["clip_skip"]) == (["plain", "a1111"], 2400, 3)
    assert told["background"] == ["auto", "opaque"]
    assert told["native_pixels"] == home.checkpoints["demo"].native_pixels
    assert all(card.capabilities is None for card in home.library.models())


def test_a_model_tells_the_words_that_files_teach_it(home: AdmissionKit) -> None:
    folder = home.settings.embeddings.directory
    write_embedding(folder / "sks.safetensors")
    (folder / "odd.pt").write_bytes(b"")
    home.embeddings.scan()
    told = home.library.model("demo+ink").capabilities
    assert told is not None
    assert told["embeddings"] == ["sks"]
    (problem,) = home.library.lora_problems()
    assert (problem["file"], problem["code"]) == ("odd.pt", "invalid_embedding")


@pytest.mark.parametrize("plus", [False, True])
def test_one_model_says_what_guides_it(tmp_path: Path, plus: bool) -> None:
    files = section(tmp_path / "ip", plus=plus, weight=0.7)
    told = admission_kit(tmp_path, ip_adapter=files).library.model("demo").capabilities
    bare = admission_kit(tmp_path).library.model("demo").capabilities
    assert told is not None
    assert told["references"] == {
        "ip_adapter": "adapter",
        "kind": "plus" if plus else "plain",
        "max_pictures": 16,
        "default_weight": 0.7,
        "max_weight": 2.0,
    }
    assert bare is not None
    assert "references" not in bare


@pytest.mark.parametrize("name", ["nope", "demo+nope", "lost+ink"])
def test_unknown_models(home: AdmissionKit, name: str) -> None:
    with pytest.raises(ModelNotFound):
        home.library.model(name)


async def test_a_loras_card(home: AdmissionKit) -> None:
    (ink, watercolor) = home.library.loras()
    assert (ink["id"], ink["weight"], ink["trigger_words"], ink["recommended"]["steps"]) == ("ink", 0.8, ["inky"], 12)
    assert (watercolor["weight"], watercolor["digest"], watercolor["last_used"]) == (1.0, None, None)
    assert ink["side_car"].keys() == {"weight", "trigger_words", "steps", "description"}
    assert (watercolor["side_car"], watercolor["dialect"]) == ({}, "kohya")
    full = await home.library.lora("INK")
    assert full["usable"] is True
    assert full["checkpoint"] == "demo"
    assert full["digest"] == (await home.admit(model="ink")).recipe.blend.parts[0].digest
    assert (full["dialect"], tuple(full["ranks"])) == (full["report"]["dialect"], full["report"]["ranks"])


async def test_a_side_car_is_changed_and_told(home: AdmissionKit) -> None:
    changed = await home.library.describe_lora("INK", {"weight": 0.5, "steps": None, "description": "Thin lines."})
    assert (changed["name"], changed["weight"], changed["description"]) == ("ink", 0.5, "Thin lines.")
    assert changed["side_car"] == {"weight": 0.5, "trigger_words": ("inky",), "description": "Thin lines."}
    assert changed["recommended"]["steps"] is None
    (part,) = (await home.admit(model="demo+ink")).recipe.blend.parts
    assert part.weight == 0.5
    with pytest.raises(ModelNotFound):
        await home.library.describe_lora("nope", {"weight": 0.5})


async def test_what_is_no_lora_is_told_by_its_place_and_why(home: AdmissionKit) -> None:
    root = home.settings.loras.directory
    write(root / "sets" / "cut.safetensors", lora_file("x")[:-1])
    write(root / "ink.toml", b"wieght = 1")
    write(root / "ink" / "adapter_config.json", b"{}")
    write(root / "ink" / "adapter_model.safetensors", lora_file("y"))
    await home.adapters.refresh()
    told = {(problem["file"], problem["code"]): problem["message"] for problem in home.library.lora_problems()}
    assert told == {
        ("sets/cut.safetensors", "invalid_lora"): "The file is cut short: its tensors reach beyond its end.",
        ("ink.toml", "invalid_sidecar"): "ink.toml: unknown key 'wieght'.",
        ("ink.safetensors", "duplicate_name"): "Another LoRA has the same name; rename one of them.",
    }
    assert str(root) not in str(home.library.lora_problems())


async def test_a_lora_that_does_not_fit_says_why(home: AdmissionKit) -> None:
    write(home.settings.loras.directory / "alien.safetensors", file_bytes({"lora_unet_x.lora_down.weight": (4, 8)}))
    await home.adapters.refresh()
    assert "alien" not in {card.id for card in home.library.models()}
    (problem,) = home.library.lora_problems()
    assert (problem["file"], problem["code"]) == ("alien.safetensors", "invalid_lora")
    with pytest.raises(AdapterRefused) as refused:
        await home.library.lora("alien")
    assert (refused.value.message, refused.value.param) == (problem["message"], "name")
    for name in ("alien", "demo+alien:0.5"):
        with pytest.raises(AdapterRefused, match="Nothing in this file fits"):
            home.library.model(name)


async def test_a_lora_for_another_checkpoint_is_listed_and_says_why_this_one_cannot_take_it(tmp_path: Path) -> None:
    home = admission_kit(tmp_path, {"ink": ""})
    other = replace(demo(), name="other", digest="e" * 64, shapes={"unet.x": (4, 8)})
    write(tmp_path / "loras" / "alien.safetensors", file_bytes(lora_tensors(other.shapes)))
    adapters = LoraCatalog(home.settings.loras, tmp_path / "data", checkpoints=[demo(), other])
    adapters.scan()
    library = ModelLibrary(home.settings, home.checkpoints, adapters, home.admission.names)
    card = await library.lora("alien")
    assert card["usable"] is False
    assert card["problem"]


async def test_an_unknown_lora_with_a_telling_name(home: AdmissionKit) -> None:
    with pytest.raises(ModelNotFound) as refused:
        await home.library.lora("my-model")
    assert refused.value.message == "The LoRA 'my-model' does not exist."
    assert refused.value.param == "name"


async def test_adding_and_removing(home: AdmissionKit) -> None:
    await warmed(home, "ink")
    await home.library.remove_lora("Ink")
    assert "ink" not in {card.id for card in home.library.models()}
    await home.library.add_lora("ink", bytes_of(lora_file("another ink")), replace=False)
    (ink, _) = home.library.loras()
    assert (ink["ready"], ink["digest"], ink["last_used"]) == ("cold", None, None)
    with pytest.raises(InvalidRequest):
        await home.library.add_lora("ink", bytes_of(lora_file("ink")), replace=False)
    with pytest.raises(AdapterRefused):
        await home.library.add_lora("broken", bytes_of(b"no LoRA at all"), replace=False)
    with pytest.raises(ModelNotFound):
        await home.library.remove_lora("broken")


async def test_replacing_forgets_the_old_file(home: AdmissionKit) -> None:
    await warmed(home, "ink")
    await home.library.add_lora("ink", bytes_of(lora_file("new")), replace=True)
    assert home.library.model("ink").ready == "cold"


def test_the_default_word_of_an_alias_is_shown_resolved(tmp_path: Path) -> None:
    library = admission_kit(tmp_path, aliases={"x": "default"}, default_model="big", checkpoints={"big": DEMO}).library
    assert library.model("x").description == "big"


async def test_each_engine_is_warm_of_its_own(home: AdmissionKit) -> None:
    await warmed(home, "ink", "host", engine="0")
    await warmed(home, "watercolor", "vram", engine="1")
    assert {name: home.library.model(name).ready for name in ("ink", "watercolor")} == dict.fromkeys(
        ("ink", "watercolor"), "warm"
    )
    await warmed(home, "ink", "vram", engine="1")
    assert (await home.library.lora("ink"))["tier"] == "vram"
    assert home.library.model("watercolor").ready == "cold"


async def test_an_engine_that_is_lost_loses_its_warmth(home: AdmissionKit) -> None:
    await warmed(home, "ink", "host", engine="0")
    await warmed(home, "ink", "vram", engine="1")
    home.library.on_event(EngineLost("1"))
    assert (await home.library.lora("ink"))["tier"] == "host"
    home.library.on_event(EngineLost("0"))
    home.library.on_event(EngineLost("2"))
    assert home.library.model("ink").ready == "cold"


@pytest.mark.parametrize("end", [Finished("job-1"), Failed("job-1", Cancelled("The caller went away."))])
async def test_a_jobs_loras_are_in_use_from_its_acceptance_to_its_end(
    home: AdmissionKit, monkeypatch: pytest.MonkeyPatch, end: Event
) -> None:
    recipe = (await home.admit(model="ink+watercolor:0.5")).recipe
    digests = frozenset(recipe.blend.digests)
    assert home.library.digests_in_use == digests
    monkeypatch.setattr("sdxl_gateway.catalog.lora_folder.checks.LATELY_SECONDS", 0.0)
    assert home.library.digests_in_use == frozenset()
    home.library.on_event(JobAccepted("job-1", "a", recipe, (), arrived=0.0))
    assert home.library.digests_in_use == digests
    home.library.on_event(end)
    assert home.library.digests_in_use == frozenset()


async def test_a_checkpoint_in_use_stays_and_one_that_is_not_goes(tmp_path: Path) -> None:
    for name in ("arm", "styled", "free"):
        copy_of_demo(tmp_path / "checkpoints" / name)
    arms = (RolloutArm(target="demo", share=90), RolloutArm(target="arm+ink", share=10))
    models = {"posters": HouseStyle(rollout=arms), "poster": HouseStyle(checkpoint="styled")}
    folder = CheckpointFolder(directory=tmp_path / "checkpoints")
    home = admission_kit(tmp_path, {"ink": ""}, models=models, checkpoint_folder=folder)
    for name, words in (
        ("demo", "stands in the settings"),
        ("arm", "models.posters.rollout"),
        ("styled", "models.poster"),
    ):
        with pytest.raises(WrongState, match=words):
            await home.library.remove_checkpoint(name)
    recipe = (await home.admit(model="free")).recipe
    home.library.on_event(JobAccepted("job-1", "a", recipe, (), arrived=0.0))
    with pytest.raises(WrongState, match="runs or waits"):
        await home.library.remove_checkpoint("free")
    home.library.on_event(Finished("job-1"))
    with pytest.raises(ModelNotFound):
        await home.library.remove_checkpoint("free", Caller(models=("demo",)))
    await home.library.remove_checkpoint("free")
    assert sorted(home.checkpoints) == ["arm", "demo", "styled"]


def test_what_came_with_the_server_is_told(tmp_path: Path) -> None:
    home = admission_kit(tmp_path, {"ink": ""})
    adapters = LoraCatalog(home.settings.loras, tmp_path / "data", DEMO_LORAS)
    adapters.scan()
    library = ModelLibrary(home.settings, home.checkpoints, adapters, home.admission.names)
    own = {one["name"]: (one["in_folder"], one["shared"]) for one in library.loras()}
    assert (own["ink"], own["sunset"]) == ((True, False), (False, False))
