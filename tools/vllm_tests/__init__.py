"""What vLLM's own tests of its endpoints, of the pinned version, say of two running servers."""
