"""Trains a small IP-Adapter that has the demo paint in the colours a picture shows, on drawn scenes, and writes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPVisionModelWithProjection

from . import common, scenes, seeing, sibling, unet

TARGET = sibling.SIBLINGS / "reference"
ADAPTER, ENCODER = TARGET / "adapter.safetensors", TARGET / "image_encoder"
POOL, BATCH = 1200, 8
RATE = 2e-3
EMPTY_SHARE = 0.9
NOISY_FROM, NOISY_SHARE = 700, 0.8
"""Where colours and shapes are decided is above this timestep."""
TEXT, TOKENS = 160, 4
PROBED_EVERY, PROBED = 50, 64


def adapter_tensors(demo: sibling.Demo) -> dict[str, Tensor]:
    """An adapter that has learnt nothing, by the names that trainers save.

    Its tokens begin as large as a text's are, read by the keys and values that read texts.
    """
    projection = nn.Sequential(nn.Linear(seeing.VISION.projection_dim, TOKENS * TEXT), nn.LayerNorm(TEXT))
    values: Iterable[Tensor] = projection.parameters()
    found = {f"image_proj.{name}": value for name, value in zip(_PROJECTION, values, strict=True)}
    texts = demo.told(["a red circle on a blue background"])["encoder_hidden_states"][0, :10]
    found |= {"image_proj.norm.weight": texts.std(dim=0), "image_proj.norm.bias": texts.mean(dim=0)}
    tensors = demo.unet.state_dict()
    for number, place in enumerate(_reads_texts(demo.unet)):
        for what in ("to_k", "to_v"):
            found[f"ip_adapter.{2 * number + 1}.{what}_ip.weight"] = tensors[f"{place}.{what}.weight"].clone()
    return found


_PROJECTION = ("proj.weight", "proj.bias", "norm.weight", "norm.bias")


def _reads_texts(demo: Any) -> list[str]:
    """The cross-attentions' names, in the order in which an adapter's layers are numbered."""
    return [name.removesuffix(".processor") for name in demo.attn_processors if name.endswith("attn2.processor")]


def write(tensors: Mapping[str, Tensor], encoder: CLIPVisionModelWithProjection) -> None:
    """Both files, in half precision."""
    TARGET.mkdir(parents=True, exist_ok=True)
    save_file({name: value.detach().half().contiguous() for name, value in tensors.items()}, ADAPTER)
    state = {name: value.half() for name, value in encoder.state_dict().items()}
    encoder.save_pretrained(ENCODER, state_dict=state)


class Lesson:
    """The demo with an adapter, as diffusers puts it on, and an encoder that knows the drawings."""

    def __init__(self, seed: int) -> None:
        self.rng, self.demo = common.seed_all(seed), sibling.Demo()
        self.shown = seeing.drawings(self.rng, POOL)
        write(adapter_tensors(self.demo), seeing.taught(self.shown))
        pipeline = self.demo.pipeline
        pipeline.load_ip_adapter(TARGET, subfolder="", weight_name=ADAPTER.name, image_encoder_folder=ENCODER.name)
        self.encoder = pipeline.image_encoder.float().requires_grad_(True)
        self.projection = self.demo.unet.encoder_hid_proj.image_projection_layers[0].requires_grad_(True)
        processors = self.demo.unet.attn_processors.values()
        self.layers = [one.requires_grad_(True) for one in processors if hasattr(one, "to_k_ip")]
        self.latents = self.demo.latents(self.shown.pictures)
        self.asked = 0

    def groups(self) -> list[dict[str, Any]]:
        """The parameters with their peak rates."""
        learning = [self.encoder, self.projection, *self.layers]
        return [{"params": [value for one in learning for value in one.parameters()], "peak": RATE}]

    def loss(self) -> Tensor:
        """What a batch of the pool costs, each picture shown to the adapter and asked for."""
        self._probed()
        picks = sibling.picked(self.rng, POOL, BATCH)
        times = sibling.times_from(BATCH, NOISY_FROM, 1000, NOISY_SHARE)
        return self.cost(picks, picks, times, [self.worded(self.shown.told[k]) for k in picks])

    def cost(self, picks: list[int], shown: list[int], times: Tensor, prompts: list[str]) -> Tensor:
        """Of asking for some pictures of the pool while others, or the same, are shown."""
        latents = self.latents[picks]
        noised, told = self.demo.noised(latents, times), self.demo.told(prompts)
        told["added_cond_kwargs"]["image_embeds"] = [self.encoder(self.shown.pixels[shown]).image_embeds[:, None]]
        found = self.demo.unet(noised.latents, times, **told).sample
        return unet.weighted_error(found, noised.velocity, latents, self.demo.alphas[times])

    @torch.no_grad()
    def _probed(self) -> None:
        """Tells now and then what it costs to be shown the picture that is asked for, and to be shown another."""
        if self.asked % PROBED_EVERY == 0:
            own, times = list(range(PROBED)), torch.linspace(700, 999, PROBED).long()
            with torch.random.fork_rng():
                costs = [self._probe(own, [(k + by) % PROBED for k in own], times) for by in (0, 1)]
            print(f"own {costs[0]:.3f} another's {costs[1]:.3f}", flush=True)
        self.asked += 1

    def _probe(self, own: list[int], shown: list[int], times: Tensor) -> float:
        torch.manual_seed(0)
        return float(self.cost(own, shown, times, [""] * PROBED))

    def worded(self, scene: scenes.Scene) -> str:
        """Mostly nothing: the picture alone must do."""
        return "" if self.rng.random() < EMPTY_SHARE else scenes.random_prompt(self.rng, scene)

    def keep(self) -> None:
        """Writes both files."""
        projection = (self.projection.image_embeds, self.projection.norm)
        values = [value for layer in projection for value in layer.parameters()]
        found = {f"image_proj.{name}": value for name, value in zip(_PROJECTION, values, strict=True)}
        for number, layer in enumerate(self.layers):
            found[f"ip_adapter.{2 * number + 1}.to_k_ip.weight"] = layer.to_k_ip[0].weight
            found[f"ip_adapter.{2 * number + 1}.to_v_ip.weight"] = layer.to_v_ip[0].weight
        write(found, self.encoder)


def main() -> None:
    """Trains and writes both files."""
    options = common.arguments(__doc__ or "", steps=1200).parse_args()
    torch.set_num_threads(1)
    lesson = Lesson(options.seed)
    sibling.train(lesson.groups(), lesson.loss, options.steps, lesson.keep)
    print(sum(path.stat().st_size for path in TARGET.rglob("*") if path.is_file()), "bytes")


if __name__ == "__main__":
    main()
