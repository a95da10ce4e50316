"""Trains the demo's tokenizer, then both text encoders to know what a prompt asks for."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import nn
from torch.nn import functional
from transformers import CLIPTokenizer

from . import arch, common, scenes

VOCABULARY = 800
EXTRA_WORDS = (
    "outline outlined line art stripes striped sunset sky gradient shape shapes and with "
    "no low quality blurry bad ugly watermark text cat dog house tree photo of the sun moon landscape portrait "
    "beautiful colourful colorful bright dark simple minimal flat logo icon robot astronaut horse mountain"
)
CONTRACTIONS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
BATCH = 64
PEAK_RATE = 1.5e-3
RELATIONS = ("", *scenes.RELATIONS)
NOTHING = "nothing"
CHOICES: dict[str, tuple[str, ...]] = {
    "background": scenes.BACKGROUNDS,
    "relation": RELATIONS,
    "shape 1": (*scenes.SHAPES, NOTHING),
    "colour 1": (*scenes.OBJECT_COLOURS, NOTHING),
    "size 1": (*scenes.SIZES, NOTHING),
    "shape 2": (*scenes.SHAPES, NOTHING),
    "colour 2": (*scenes.OBJECT_COLOURS, NOTHING),
    "size 2": (*scenes.SIZES, NOTHING),
}


def corpus(seed: int, count: int = 8000) -> Iterator[str]:
    """Prompts and a few other words for the tokenizer to learn from."""
    rng = random.Random(seed)
    for _ in range(count):
        yield scenes.random_prompt(rng, scenes.random_scene(rng))
    for _ in range(20):
        yield EXTRA_WORDS


def train_tokenizer(seed: int) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A byte-level BPE vocabulary and its merges, in CLIP's spelling."""
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pattern=_regex(), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, end_of_word_suffix="</w>", show_progress=False)
    bpe.train_from_iterator(corpus(seed), trainer)
    merges = _merges(bpe)
    alphabet = _alphabet()
    tokens = [*alphabet, *(letter + "</w>" for letter in alphabet)]
    tokens += [left + right for left, right in merges if left + right not in set(tokens)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {token: index for index, token in enumerate(dict.fromkeys(tokens))}, merges


def _regex() -> Any:
    from tokenizers import Regex

    return Regex(CONTRACTIONS)


def _alphabet() -> list[str]:
    """The 256 byte letters in CLIP's order, which begins with an exclamation mark."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [256 + k for k in range(256 - len(plain))]
    return [chr(code) for code in [*plain, *others]]


def _merges(bpe: Tokenizer) -> list[tuple[str, str]]:
    import json

    found = json.loads(bpe.to_str())["model"]["merges"]
    return [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in found]


def make_tokenizers(work: Path, seed: int) -> None:
    """Saves both tokenizers: the first pads with the end token, the second with "!"."""
    vocabulary, merges = train_tokenizer(seed)
    for name, pad in (("tokenizer", "<|endoftext|>"), ("tokenizer_2", "!")):
        made = CLIPTokenizer(
            vocab=vocabulary, merges=merges, pad_token=pad, model_max_length=arch.TOKENS, unk_token="<|endoftext|>"
        )
        made.save_pretrained(work / name)


def load_tokenizers(work: Path) -> list[Any]:
    """Both tokenizers as they were saved."""
    return [CLIPTokenizer.from_pretrained(work / name) for name in ("tokenizer", "tokenizer_2")]


def token_ids(tokenizer: Any, prompts: list[str]) -> torch.Tensor:
    """The prompts' tokens, padded to the full length as SDXL's pipeline does."""
    encoded = tokenizer(prompts, padding="max_length", max_length=arch.TOKENS, truncation=True, return_tensors="pt")
    ids: torch.Tensor = encoded.input_ids
    return ids


def encode(encoders: list[nn.Module], ids: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """The penultimate states of both encoders side by side, and the pooled embedding of the second."""
    outputs = [encoder(tokens, output_hidden_states=True) for encoder, tokens in zip(encoders, ids, strict=True)]
    states = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1)
    return states, outputs[1].text_embeds


def attributes(scene: scenes.Scene) -> dict[str, str]:
    """What the scene's prompt asks for, one entry for each head."""
    found = {"background": scene.background, "relation": scene.relation}
    for k in (1, 2):
        thing = scene.things[k - 1] if k <= len(scene.things) else None
        found[f"shape {k}"] = thing.shape if thing else NOTHING
        found[f"colour {k}"] = thing.colour if thing else NOTHING
        found[f"size {k}"] = thing.size if thing else NOTHING
    return found


def labels(batch: list[scenes.Scene]) -> dict[str, torch.Tensor]:
    """The class of every attribute of every scene."""
    rows = [attributes(scene) for scene in batch]
    return {name: torch.tensor([names.index(row[name]) for row in rows]) for name, names in CHOICES.items()}


class Heads(nn.Module):
    """Throw-away linear readers of the attributes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.read = nn.Linear(width, sum(len(names) for names in CHOICES.values()))

    def loss(self, states: torch.Tensor, wanted: dict[str, torch.Tensor]) -> tuple[torch.Tensor, float]:
        """The mean cross-entropy over the attributes and the share of scenes read without a mistake."""
        parts = self.read(states).split([len(names) for names in CHOICES.values()], dim=-1)
        losses = [functional.cross_entropy(part, wanted[name]) for part, name in zip(parts, CHOICES, strict=True)]
        right = torch.stack([p.argmax(-1) == wanted[name] for p, name in zip(parts, CHOICES, strict=True)])
        return torch.stack(losses).mean(), float(right.all(dim=0).float().mean())


class ShapeHeads(nn.Module):
    """Throw-away readers at the token of each shape: its colour, its size, first or second."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.read = nn.Linear(width, len(scenes.OBJECT_COLOURS) + len(scenes.SIZES) + 2)

    def loss(
        self, states: torch.Tensor, ids: torch.Tensor, words: torch.Tensor, batch: list[scenes.Scene]
    ) -> torch.Tensor:
        """The mean cross-entropy over all shape tokens of the batch."""
        rows, columns = torch.isin(ids, words).nonzero(as_tuple=True)
        seen = [0] * len(batch)
        targets = []
        for row in rows.tolist():
            thing = batch[row].things[seen[row]]
            targets.append((scenes.OBJECT_COLOURS.index(thing.colour), scenes.SIZES.index(thing.size), seen[row]))
            seen[row] += 1
        wanted = torch.tensor(targets)
        parts = self.read(states[rows, columns]).split([len(scenes.OBJECT_COLOURS), len(scenes.SIZES), 2], dim=-1)
        return torch.stack([functional.cross_entropy(p, wanted[:, k]) for k, p in enumerate(parts)]).mean()


def padding_states(states: torch.Tensor, ids: torch.Tensor, end: int) -> torch.Tensor:
    """The mean state over the end token and the padding after it, where the whole prompt is known."""
    after = ((ids == end).cumsum(dim=1) > 0).float()[:, :, None]
    return (states * after).sum(dim=1) / after.sum(dim=1)


class Pretraining(nn.Module):
    """Both encoders with their throw-away heads."""

    def __init__(self, tokenizers: list[Any]) -> None:
        super().__init__()
        self.tokenizers = tokenizers
        size = len(tokenizers[0])
        self.trained: list[Any] = [arch.new_text_encoder(size), arch.new_text_encoder_2(size)]
        self.encoders = nn.ModuleList(self.trained)
        widths = (arch.HIDDEN_1, arch.HIDDEN_2)
        self.wholes = [Heads(width) for width in (*widths, arch.POOLED)]
        self.shapes = [ShapeHeads(width) for width in widths]
        self.heads = nn.ModuleList([*self.wholes, *self.shapes])
        self.words = torch.tensor(
            [tokenizers[0](shape, add_special_tokens=False).input_ids for shape in scenes.SHAPES]
        ).flatten()
        self.end = size - 1

    def forward(self, batch: list[scenes.Scene], prompts: list[str]) -> tuple[torch.Tensor, list[float]]:
        """The summed loss of all heads and each whole-prompt head's accuracy."""
        wanted = labels(batch)
        total = torch.zeros(())
        rights = []
        for k in (0, 1):
            ids = token_ids(self.tokenizers[k], prompts)
            output = self.encoders[k](ids, output_hidden_states=True)
            states = output.hidden_states[-2]
            summary = padding_states(states, ids, self.end)
            pairs = [(self.wholes[k], summary)]
            if k == 1:
                pairs.append((self.wholes[2], output.text_embeds))
            for head, value in pairs:
                loss, right = head.loss(value, wanted)
                total = total + loss
                rights.append(right)
            total = total + self.shapes[k].loss(states, ids, self.words, batch)
            total = total + 1e-3 * states.pow(2).mean()
        return total + 1e-3 * output.text_embeds.pow(2).mean(), rights


def random_batch(rng: random.Random, count: int) -> tuple[list[scenes.Scene], list[str]]:
    """Training scenes and a wording of each."""
    batch = [scenes.training_scene(rng, pair_share=0.5) for _ in range(count)]
    return batch, [scenes.random_prompt(rng, scene) for scene in batch]


def save(model: Pretraining, work: Path) -> None:
    """Saves both encoders in the layout of diffusers."""
    for encoder, name in zip(model.trained, ("text_encoder", "text_encoder_2"), strict=True):
        encoder.save_pretrained(work / name)


def main() -> None:
    """Makes the tokenizers if there are none, then trains the encoders."""
    options = common.arguments(__doc__ or "", steps=4000).parse_args()
    torch.set_num_threads(1)
    if not (options.work / "tokenizer_2").exists():
        make_tokenizers(options.work, options.seed)
    tokenizers = load_tokenizers(options.work)
    rng = common.seed_all(options.seed)
    model = Pretraining(tokenizers)
    optimiser = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    began = time.time()
    for step in range(options.steps):
        for group in optimiser.param_groups:
            group["lr"] = common.learning_rate(step, options.steps, PEAK_RATE, 200)
        loss, rights = model(*random_batch(rng, BATCH))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if (step + 1) % 100 == 0:
            right = " ".join(f"{share:.2f}" for share in rights)
            print(f"step {step + 1} loss {loss:.3f} right {right} seconds {time.time() - began:.0f}", flush=True)
        if (step + 1) % 500 == 0 or step + 1 == options.steps:
            save(model, options.work)


if __name__ == "__main__":
    main()
