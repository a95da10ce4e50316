"""Hands pictures out: enlarges, keeps what an inpaint must keep, encodes. No torch."""
