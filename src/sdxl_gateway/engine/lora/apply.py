"""Takes a blend, puts it on the weights of the UNet and the text encoders: exactly, in place, from pristine copies.

The same blend gives bit-identical weights whatever was on before, and taking it off gives the checkpoint's own bits.
Parameters keep identity, storage and address, so compiled code and captured graphs stay valid. Runs on the thread that
owns the device.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from sdxl_gateway.catalog.model_files import TEXT_ENCODERS, UNET
from sdxl_gateway.core.errors import AdapterRefused, DoesNotFit
from sdxl_gateway.core.events import BlendSwitched
from sdxl_gateway.core.recipe import Blend, BlendKey
from sdxl_gateway.engine.device import finish_steps
from sdxl_gateway.engine.lora.cache import AdapterCache
from sdxl_gateway.engine.lora.formats import Adapter, TextualInversions
from sdxl_gateway.engine.lora.fused import KernelWriter
from sdxl_gateway.engine.lora.group import LayerGroup
from sdxl_gateway.engine.lora.layers import STACK_BYTES, Layer, PristineHome, PristineStore, layers_of, restore
from sdxl_gateway.engine.lora.merge import LayerWriter, full_precision
from sdxl_gateway.engine.lora.table import Kernel
from sdxl_gateway.engine.lora.writer import GroupWriter, no_stacks, stacks_of
from sdxl_gateway.engine.memory.ledger import Ledger
from sdxl_gateway.engine.timing import Timings


class BlendSwitcher:
    """The components of one checkpoint, keyed "unet", "text_encoder", "text_encoder_2", and the blend on each.

    To be made once the components are on their device, in their dtype and memory format, and hold the checkpoint's
    weights: parameters that move to another storage later are no longer written to. `device` computes blends, if that
    is not the weights' own. `stacked` writes layers of one shape together, which pays where a launch costs more than
    its arithmetic; None means everywhere but on the CPU. `stack_bytes` bounds the float32 scratch of one such write.
    A `kernel` is preferred for the layers that it can write.
    """

    def __init__(
        self,
        components: Mapping[str, nn.Module],
        cache: AdapterCache,
        ledger: Ledger,
        timings: Timings,
        *,
        name: str = "",
        pristine: PristineHome = "auto",
        device: torch.device | None = None,
        stacked: bool | None = None,
        stack_bytes: int = STACK_BYTES,
        kernel: Kernel | None = None,
    ) -> None:
        self._cache = cache
        self._timings = timings
        self._layers = layers_of(components, device)
        self._pristine = PristineStore(ledger, pristine, name)
        self._pristine.count(self._layers.values())
        self._device = next(iter(self._layers.values())).device
        self._stack_bytes = stack_bytes if stacked or (stacked is None and self._device.type != "cpu") else None
        self._writers: dict[tuple[str, ...], GroupWriter] = {
            reached: self._writer(reached, kernel) for reached in ((UNET,), TEXT_ENCODERS)
        }
        self._on: dict[tuple[str, ...], BlendKey | None] = {(UNET,): (), TEXT_ENCODERS: ()}
        self._words: TextualInversions = {}
        self._fitting: set[str] = set()

    @property
    def unet_mix(self) -> BlendKey:
        """The adapters on the UNet now, as `Blend.unet_key`."""
        return self._on[(UNET,)] or ()

    @property
    def text_mix(self) -> BlendKey:
        """The adapters on the text encoders now, as `Blend.text_key`."""
        return self._on[TEXT_ENCODERS] or ()

    @property
    def words(self) -> TextualInversions:
        """Textual inversions of the adapters on the text encoders: float32 vectors by lower-case word and component."""
        return self._words

    def put_on(self, blend: Blend) -> None:
        """On text encoders and UNet; errors as `put_on_unet`."""
        self.put_on_text(blend)
        self.put_on_unet(blend)

    def put_on_text(self, blend: Blend) -> None:
        """On the text encoders, with the blend's text encoder weights; errors as `put_on_unet`."""
        self._put_on(TEXT_ENCODERS, blend.text_key)

    def put_on_unet(self, blend: Blend) -> None:
        """On the UNet. Raises AdapterRefused or DoesNotFit with nothing changed.

        An error while writing leaves the components with the checkpoint's own weights, without a blend.
        """
        self._put_on((UNET,), blend.unet_key)

    def close(self) -> None:
        """Free the pristine copies; the weights stay as they are, and no blend can be put on any more."""
        for layer in self._layers.values():
            self._pristine.forget(layer)

    def _writer(self, components: tuple[str, ...], kernel: Kernel | None) -> GroupWriter:
        group = LayerGroup(layer for layer in self._layers.values() if layer.component in components)
        stacks = stacks_of(group.layers, self._stack_bytes) if self._stack_bytes else no_stacks(group.layers)
        by_kernel = KernelWriter(group, kernel, self._cache.dense) if kernel else None
        return GroupWriter(group, LayerWriter(self._cache.dense), stacks, by_kernel)

    def _put_on(self, components: tuple[str, ...], mix: BlendKey) -> None:
        if self._on[components] == mix:
            return
        begun = self._timings.mark()
        with torch.inference_mode(False), torch.no_grad(), full_precision():
            layers = self._switch(components, mix)
        if layers:
            self._timings.ended(begun, lambda seconds: BlendSwitched(seconds, layers))

    def _switch(self, components: tuple[str, ...], mix: BlendKey) -> int:
        """The number of layers rewritten."""
        adapters = {digest: self._adapter(digest) for digest, _ in mix}
        words = _inversions(adapters.values()) if components == TEXT_ENCODERS else self._words
        writer = self._writers[components]
        group, plan = writer.group, writer.plan(mix, adapters)
        bare, written = group.chosen(plan.bare), group.chosen(plan.written)
        self._pristine.keep(written)
        self._on[components] = None
        group.half_written(plan.written)
        try:
            _finish_copies(group.chosen(group.in_host & (plan.bare | plan.written)))
            restore(bare)
            writer.write(plan)
        except BaseException as error:
            restore(group.chosen(group.touched(group.on)))
            group.on = {}
            self._on[components] = ()
            self._words = {} if components == TEXT_ENCODERS else self._words
            if isinstance(error, torch.OutOfMemoryError):
                raise DoesNotFit("The device has no room left to put this LoRA blend on.") from error
            raise
        group.on = plan.wanted
        self._on[components] = mix
        self._words = words
        return len(bare) + len(written)

    def _adapter(self, digest: str) -> Adapter:
        adapter = self._cache.use(digest)
        self._refuse_misfit(adapter)
        return adapter

    def _refuse_misfit(self, adapter: Adapter) -> None:
        if adapter.digest in self._fitting:
            return
        for name, delta in adapter.deltas.items():
            layer = self._layers.get(name)
            if layer is None:
                raise AdapterRefused(f"The LoRA changes '{name[:200]}', which this checkpoint does not have.")
            if layer.shape != delta.shape:
                raise AdapterRefused(f"The LoRA's change to '{name[:200]}' is {delta.shape}, the layer {layer.shape}.")
        self._fitting.add(adapter.digest)


def _inversions(adapters: Iterable[Adapter]) -> TextualInversions:
    """The adapters' textual inversions, copied, so that they keep no adapter's memory alive."""
    words: dict[str, dict[str, Tensor]] = {}
    for adapter in adapters:
        for word, vectors in adapter.words.items():
            if word.lower() in words:
                raise AdapterRefused(
                    f"The word '{word[:100]}' is taught twice in this blend; "
                    "give all but one of its LoRAs a text encoder weight of 0."
                )
            words[word.lower()] = {name: t.to(torch.float32, copy=True) for name, t in vectors.items()}
    return words


def _finish_copies(layers: Iterable[Layer]) -> None:
    """Wait until no step is copying these weights from host memory, before the host writes to them."""
    for device in {layer.device for layer in layers}:
        finish_steps(device)
