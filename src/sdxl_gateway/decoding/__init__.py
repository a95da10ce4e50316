"""Uploads are decoded in processes that may be killed, so that no picture harms more than its own request."""
