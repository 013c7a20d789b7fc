"""Middleware around vLLM's endpoints, one concern a file. `cc_serve.api.composition` puts them in order."""
