"""Runs networks in ONNX files on the CPU, without disturbing the engines."""
