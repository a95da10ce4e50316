"""sdxl-gateway: the OpenAI images API on your own GPU, where a LoRA blend is a model name."""

__version__ = "0.2.0"
