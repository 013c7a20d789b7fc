"""Experiments on real weights and data, for `docs/results.md` and `docs/experiments.md`; not part of the product."""
