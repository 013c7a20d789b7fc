"""Training: the two passes, the loop, and how a run stops and goes on."""
