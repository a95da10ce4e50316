"""A picture's subject told from what is behind it, by a matte model in onnxruntime."""
