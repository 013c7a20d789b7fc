"""The options of a training run, as typed objects that never change."""
