"""Remembers what outlives a request: pictures, files, jobs, batches, replies, reviews; SQLite and blobs."""
