"""sdxl-gateway: the OpenAI images API on your own GPU, where a LoRA blend is a model name."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("sdxl-gateway")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0.0.0"
