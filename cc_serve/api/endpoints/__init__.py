"""The endpoints that this server adds to vLLM's."""
