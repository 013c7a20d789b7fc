"""The places where a ``cc_connection`` travels while a request is served. Each place has its own name.

They share one word because users and the engine know it. The places that other programs know too are in
`cc_core.names`: a request's `OVERRIDE_FIELD`, a model's `CARD_FIELD`, and the `CONNECTION_KEY` of ``config.json``. What
the engine knows of the checkpoint travels under that word as well: `cc_serve.engine.config.SETTINGS_KEY`.
"""

from typing import Final

#: A request's field, and the engine's argument of the same name: the factor of the connection's vector.
STRENGTH: Final = "cc_strength"
#: The engine's argument, in vLLM's ``vllm_xargs`` and ``extra_args``: the name of the Transform Matrix to apply.
ENGINE_ARGUMENT: Final = "cc_connection"
#: The engine's argument that names the connection which a request began with, by the SHA-256 of its file. Without it,
#: the engine takes the connection that it started with.
DIGEST: Final = "cc_digest"
#: The engine's arguments for a request's tenant, as a number, and for how many turns it gets to one of a tenant with
#: weight 1.
TENANT: Final = "cc_tenant"
WEIGHT: Final = "cc_weight"
LEAST_WEIGHT: Final = 0.01
MOST_WEIGHT: Final = 100.0
#: A key of an engine output's ``kv_transfer_params``: ``name``, ``layer`` and ``captures`` of a connected prompt.
ENGINE_REPORT: Final = "cc_connection"
#: An answer's field, for requests with ``cc_details``: language, connection, and the engine's reports.
ANSWER_FIELD: Final = "cc_connection"
