"""Pillow: uploads decoded, paintings finished and encoded. No torch."""
