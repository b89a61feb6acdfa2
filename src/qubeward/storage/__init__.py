"""Volumes on disk: one contract, and the drivers that keep it."""
