"""Keeps pictures, files and models in a bucket that several servers share."""
