"""Parallel rows: read, checked, encoded and batched."""
