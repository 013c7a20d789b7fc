"""The ``vllm.general_plugins`` entry point; vLLM calls `register` in every process."""


def register() -> None:
    """Register the connected model classes and their configuration hook. Idempotent."""
