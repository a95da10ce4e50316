"""Judges: texts and pictures become verdicts."""
