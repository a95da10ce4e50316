"""The folder of textual inversion embeddings, whose files teach new words to the text encoders."""
