"""The folder of embeddings, files that teach words: what lies in it, and what a file means."""
