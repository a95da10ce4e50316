"""Takes a digest, gives the private copy of that file, planned against one checkpoint and ready to be read."""

from __future__ import annotations

import pickle
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

from sdxl_gateway.catalog.lora_folder.copies import store_path
from sdxl_gateway.catalog.lora_format.module_names import CLIP_ENCODERS
from sdxl_gateway.catalog.lora_format.plan import LoraPlan, plan_lora
from sdxl_gateway.catalog.safetensors_header import read_header
from sdxl_gateway.config import Loras
from sdxl_gateway.engine.lora.cache import OpenAdapter
from sdxl_gateway.engine.lora.formats import AdapterFile

KEPT_PLANS = 1024


def stored_adapters(data_directory: Path, shapes: Mapping[str, tuple[int, ...]], loras: Loras) -> OpenAdapter:
    """Opens adapters by digest for the checkpoint of these `shapes`; the opener raises AdapterRefused."""
    plans = _Plans()

    def open_adapter(digest: str) -> AdapterFile:
        return plans.get(digest) or plans.keep(_plan(store_path(data_directory, digest), digest, shapes, loras))

    return open_adapter


class _Plans:
    """A cache of the files planned last; as a digest identifies the content, a plan never becomes stale.

    They are kept pickled, in a tenth of the memory: a plan is thousands of objects, and the garbage collector would
    stop every thread to traverse them.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    def get(self, digest: str) -> AdapterFile | None:
        kept = self._kept.get(digest)
        if kept is None:
            return None
        # Safe to unpickle, as this process made the bytes.
        file: AdapterFile = pickle.loads(zlib.decompress(kept))  # noqa: S301
        return self.keep(file, kept)

    def keep(self, file: AdapterFile, packed: bytes = b"") -> AdapterFile:
        """`file` itself, now most recently used."""
        self._kept.pop(file.digest, None)
        self._kept[file.digest] = packed or zlib.compress(pickle.dumps(file), level=1)
        while len(self._kept) > KEPT_PLANS:
            self._kept.popitem(last=False)
        return file


def _plan(path: Path, digest: str, shapes: Mapping[str, tuple[int, ...]], loras: Loras) -> AdapterFile:
    header = read_header(path, loras)
    plan = plan_lora(header, shapes)
    return AdapterFile(digest, path, header.tensors, plan.parts, _words(plan))


def _words(plan: LoraPlan) -> dict[str, dict[str, str]]:
    return {word: {CLIP_ENCODERS[name]: key for name, key in keys.items()} for word, keys in plan.tokens.items()}
