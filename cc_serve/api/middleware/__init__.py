"""What a request passes through on its way to vLLM's endpoints, one concern a file."""
