"""Separates a picture's subject from its background, by a matte model in onnxruntime."""
