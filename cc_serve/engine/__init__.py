"""The connection inside vLLM: this package's classes take the place of vLLM's scheduler, worker and model.

A connected request, from its argument to its first token:

1. `plugin` registers our model classes in each process. `config` checks the checkpoint, and chooses our scheduler
   and worker.
2. The request asks for a connection by name in ``extra_args["cc_connection"]``; `admission` refuses unknown names.
3. `scheduler` follows the request's phase. The step whose chunk first covers the anchor, as a rule the prompt's
   last token, is the capture step: it gets a slot and a capture mark, and the request is rewound to the anchor.
4. `marks` travel to `worker` with vLLM's ``SchedulerOutput``.
5. `runner_v1` or `runner_v2`, for either of vLLM's model runners, turns marks into `rows` of the flattened batch. It
   also drops the token that the capture step samples.
6. `model` records the marked rows inside the compiled graph: each layer's FFN contribution and the embedding.
7. After that forward pass `model` decides: it chooses a layer and keeps the vector to add, by slot.
8. `layer_choices` carries the chosen layers back to `scheduler` with the step's output.
9. The next step runs the anchor once more: its mark is inject, `model` adds the vector to layer 0's FFN output, and the
   anchor's KV entry is overwritten. The token sampled here is the answer's first; the rest is ordinary decoding.

A preempted request starts over at step 3. `zeroing` has vLLM clear each block of the KV cache before it is used again.
"""
