"""The places where a ``cc_connection`` travels while a request is served. Each place has its own name here.

They share one word because users and the engine know it. `cc_core.names.CONNECTION_KEY` is the same word in a
checkpoint's ``config.json`` and in the engine's settings.
"""

from typing import Final

#: A request's field: the connection or language that the client wants; absent, null or ``auto`` leaves it to routing.
OVERRIDE_FIELD: Final = "cc_connection"
#: A request's field, and the engine's argument of the same name: what the connection's vector is multiplied by.
STRENGTH: Final = "cc_strength"
#: Of vLLM's ``vllm_xargs`` and ``extra_args``: the name of the Transform Matrix that the engine shall apply.
ENGINE_ARGUMENT: Final = "cc_connection"
#: The engine's argument that says which connection a request began with: the SHA-256 of its file. Without it, the one
#: that the engine started with.
DIGEST: Final = "cc_digest"
#: The engine's arguments that say whose a request is, by a number, and how many turns its tenant gets to others' one.
TENANT: Final = "cc_tenant"
WEIGHT: Final = "cc_weight"
LEAST_WEIGHT: Final = 0.01
MOST_WEIGHT: Final = 100.0
#: Of an engine output's ``kv_transfer_params``: ``name``, ``layer`` and ``captures`` of a prompt that was connected.
ENGINE_REPORT: Final = "cc_connection"
#: An answer's field, for requests with ``cc_details``: language, connection, and the engine's reports.
ANSWER_FIELD: Final = "cc_connection"
#: A field of each card of ``/v1/models``: what the checkpoint's connection can do.
CARD_FIELD: Final = "cc_connection"
