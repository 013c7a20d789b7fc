"""Middleware around vLLM's endpoints, one concern in each file. `cc_serve.api.composition` puts them in order."""
