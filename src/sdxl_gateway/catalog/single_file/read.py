"""Reads the header of a single file: family, number format, VAE, prediction type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sdxl_gateway.catalog.model_files import CHECKPOINT_CAPS
from sdxl_gateway.catalog.safetensors_header import Header, read_header
from sdxl_gateway.catalog.single_file.families import PREFIXES, UNET_PREFIX, VAE_PREFIX, Family, family_of
from sdxl_gateway.core.errors import AdapterRefused, CheckpointProblem

SUFFIX = ".safetensors"
PICKLES = frozenset({".ckpt", ".pt", ".pth", ".bin", ".pkl"})
FIRST_LAYER = f"{UNET_PREFIX}input_blocks.0.0.weight"
V_PREDICTION = "v_prediction"
_PREDICTIONS = {"v": V_PREDICTION, "v_prediction": V_PREDICTION, "v-prediction": V_PREDICTION, "epsilon": "epsilon"}
_PREDICTION_KEYS = ("modelspec.prediction_type", "modelspec.predict_key")


@dataclass(frozen=True, slots=True)
class SingleFile:
    """One file as its header describes it."""

    path: Path
    header: Header
    family: Family

    @property
    def prefixes(self) -> Mapping[str, str]:
        """The prefixes of its tensors' names, by component."""
        return PREFIXES.get(self.family, PREFIXES[Family.SDXL])

    @property
    def refines(self) -> bool:
        """Whether it is a refiner, which is trained for the last steps only."""
        return self.family is Family.REFINER

    @property
    def dtype(self) -> str:
        """The format of most of its bytes, as safetensors writes it: "F16"."""
        sizes = Counter[str]()
        for tensor in self.header.tensors.values():
            sizes[tensor.dtype] += tensor.end - tensor.start
        return sizes.most_common(1)[0][0]

    @property
    def has_vae(self) -> bool:
        """Whether it includes a VAE."""
        return any(name.startswith(VAE_PREFIX) for name in self.header.tensors)

    @property
    def in_channels(self) -> int:
        """The input channels of its UNet: 4, or 9 for inpainting; 0 without a UNet."""
        first = self.header.tensors.get(FIRST_LAYER)
        return first.shape[1] if first is not None and len(first.shape) == 4 else 0

    @property
    def prediction(self) -> str | None:
        """The prediction type of its UNet, "epsilon" or "v_prediction"; None if the file does not say."""
        if "v_pred" in self.header.tensors:
            return V_PREDICTION
        told = (self.header.metadata.get(key, "") for key in _PREDICTION_KEYS)
        return next((_PREDICTIONS[word.lower()] for word in told if word.lower() in _PREDICTIONS), None)

    @property
    def zero_snr(self) -> bool:
        """Whether it was trained with zero terminal SNR, to start from pure noise; only works with v-prediction."""
        return "ztsnr" in self.header.tensors

    @property
    def parameters(self) -> int:
        """The number of its parameters."""
        return self.header.parameters


def read_single_file(path: Path) -> SingleFile:
    """Raises CheckpointProblem for a pickle, which is never opened, and for a file with an invalid header."""
    if path.suffix.lower() in PICKLES:
        raise CheckpointProblem(
            f"'{path.name}' is a pickle, which runs code when it is opened, so it never is. Take the {SUFFIX} file"
            f" of the same model, or convert it: most tools save checkpoints as {SUFFIX}."
        )
    if path.suffix.lower() != SUFFIX:
        raise CheckpointProblem(f"'{path.name}' is no checkpoint: those are folders, or files that end in {SUFFIX}.")
    try:
        header = read_header(path, CHECKPOINT_CAPS)
    except AdapterRefused as error:
        raise CheckpointProblem(f"'{path.name}': {error.message}") from error
    return SingleFile(path, header, family_of(header.tensors))
