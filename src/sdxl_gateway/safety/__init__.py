"""Judges texts and pictures: gives verdicts on whether they are allowed."""
