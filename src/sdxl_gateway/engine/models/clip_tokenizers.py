"""Takes a checkpoint's configs, gives its tokenizers: those in its folder, or CLIP's own from this package.

CLIP's vocabulary is 256 bytes, the same at a word's end, one entry for each merge, and the begin and end tokens.
https://github.com/openai/CLIP/blob/main/clip/simple_tokenizer.py
"""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path
from typing import Any

from transformers import CLIPTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

from sdxl_gateway.config import SDXL_CONFIGS

VOCABULARY = SDXL_CONFIGS / "bpe_simple_vocab_16e6.txt.gz"
MERGES = 49152 - 256 - 2
LONGEST_TEXT = 77
PAD_TOKENS = {"tokenizer": "<|endoftext|>", "tokenizer_2": "!"}
"""SDXL's second text encoder was trained on texts padded by id 0."""


def load_tokenizer(configs: Path, name: str) -> Any:
    """The one called `name`, "tokenizer" or "tokenizer_2"."""
    if (configs / name).is_dir():
        return CLIPTokenizer.from_pretrained(configs / name, local_files_only=True, trust_remote_code=False)
    vocabulary, merges = _vocabulary()
    return CLIPTokenizer(vocabulary, merges, pad_token=PAD_TOKENS[name], model_max_length=LONGEST_TEXT)


@cache
def _vocabulary() -> tuple[dict[str, int], list[tuple[str, ...]]]:
    lines = gzip.decompress(VOCABULARY.read_bytes()).decode("utf-8").split("\n")
    merges = [tuple(line.split()) for line in lines[1 : MERGES + 1]]
    letters = list(bytes_to_unicode().values())
    words = [*letters, *(f"{letter}</w>" for letter in letters), *map("".join, merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    return {word: number for number, word in enumerate(words)}, merges
