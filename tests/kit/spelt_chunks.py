"""Computes what A1111's formula makes of a prompt, given as chunks with explicit weights.

Each encoder reads each chunk separately. Its states are multiplied by their tokens' weights, and then all of them by
the number that restores their mean. The pooled state is the first chunk's. Written from the formula, with diffusers'
pipeline for the encoders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Chunk = Sequence[tuple[str, float]]
"""Texts in their order, each with its weight."""


@dataclass(frozen=True)
class Told:
    """What a pipeline takes in place of a prompt: (1, tokens, width) and (1, projection)."""

    tokens: Tensor
    pooled: Tensor


def told(pipeline: Any, chunks: Sequence[Chunk], *, clip_skip: int = 2) -> Told:
    encoders = ((pipeline.tokenizer, pipeline.text_encoder), (pipeline.tokenizer_2, pipeline.text_encoder_2))
    there = [(tokenizer, encoder) for tokenizer, encoder in encoders if encoder is not None]
    sides = [[_read(tokenizer, encoder, chunk, clip_skip) for chunk in chunks] for tokenizer, encoder in there]
    tokens = torch.cat([torch.cat([states for states, _ in side], dim=1) for side in sides], dim=-1)
    return Told(tokens, sides[-1][0][1])


@torch.inference_mode()
def _read(tokenizer: Any, encoder: Any, chunk: Chunk, clip_skip: int) -> tuple[Tensor, Tensor]:
    ids, weights = [tokenizer.bos_token_id], [1.0]
    for text, weight in chunk:
        own = tokenizer(text, add_special_tokens=False).input_ids
        ids += own
        weights += [weight] * len(own)
    ids.append(tokenizer.eos_token_id)
    assert len(ids) <= 77
    missing = 77 - len(ids)
    row = torch.tensor([ids + [tokenizer.pad_token_id] * missing], device=encoder.device)
    output = encoder(row, output_hidden_states=True)
    states = output.hidden_states[-clip_skip]
    if all(weight == 1 for weight in weights):
        return states, output[0]
    factors = torch.tensor([*weights, *[1.0] * (77 - len(weights))], device=encoder.device)[None, :, None]
    weighted = states * factors
    return weighted * (states.mean() / weighted.mean()), output[0]
