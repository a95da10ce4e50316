"""Nets in ONNX files, run on the CPU beside whoever paints."""
