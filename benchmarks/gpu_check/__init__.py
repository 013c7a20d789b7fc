"""Whether a machine serves a CC-Tuned checkpoint right: one command for whoever has a GPU.

``python -m benchmarks.gpu_check CHECKPOINT`` asks engines of all kinds, each in a process of its own, and has the
two-pass reference score what they answered. `verdicts` says how it is judged, and `parts` how a part is run.
"""
