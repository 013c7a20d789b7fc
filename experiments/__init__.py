"""Experiments on real weights and data whose outcome is in `docs/results.md`; not part of the product."""
