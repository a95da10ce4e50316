"""Decodes uploads in disposable processes, so that a malicious picture harms nothing but its own request."""
