"""Measures how fast an Admin API socket answers: `python -m bench`."""
