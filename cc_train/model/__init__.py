"""A transformers model: its files, its activations at the anchor, and the two-pass reference."""
