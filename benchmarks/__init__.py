"""Measurements of speed, memory and accuracy. The documentation quotes their figures, with the command beside each.

Serving:
    python -m benchmarks.engine_bench CHECKPOINT    throughput and latency against stock vLLM, side by side
    python -m benchmarks.gpu_check CHECKPOINT       whether a GPU gives the right answers, and how fast
    python -m benchmarks.engine_profile CHECKPOINT  where a connection's time goes within the engine
    python -m benchmarks.frontend_bench             what this server adds to a request over vLLM's own
    python -m benchmarks.start_bench CHECKPOINT     what a start spends, phase by phase
    python -m benchmarks.routing --data DIR         language detection: accuracy and speed, beside other detectors

Training:
    python -m benchmarks.step_cost --model DIR      a step of CC-Tuning beside one of plain fine-tuning
    python -m benchmarks.loss_memory                memory of the loss with a large vocabulary, at once and in chunks
    python -m benchmarks.long_rows                  memory of long rows, with gradient checkpointing and without
    python -m benchmarks.fit_memory                 memory of a fit of Transform Matrices
    python -m benchmarks.padding --data FILE        padding in batches, with rows in random order and by length

Each takes ``--help``.
"""
