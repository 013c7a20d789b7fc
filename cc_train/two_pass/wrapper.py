"""A transformers model inside another module, which Trainer treats like the model itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from cc_train.model.answer_head import output_embeddings

Hooks = Callable[[], AbstractContextManager[Any]]
"""Makes the context in which a pass runs, such as `cc_train.model.activations.connected_at`."""


class LanguageModelWrapper(nn.Module):
    """Has the attributes and methods of a `PreTrainedModel` that Trainer, accelerate and FSDP use.

    Gradient checkpointing runs layers once more, when the hooks of their pass have been removed. So this class sets
    the hooks again for as long as the layers run.

    Args:
        language_model: the model inside.
    """

    def __init__(self, language_model: PreTrainedModel) -> None:
        super().__init__()
        self.language_model = language_model
        self._hooks: Hooks = nullcontext

    @property
    def config(self) -> Any:
        return self.language_model.config

    @property
    def _no_split_modules(self) -> Any:
        """The layers that a sharded job gathers one at a time."""
        return self.language_model._no_split_modules

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def get_output_embeddings(self) -> nn.Module:
        return output_embeddings(self.language_model)

    def tie_weights(self) -> None:
        self.language_model.tie_weights()

    def gradient_checkpointing_enable(
        self, gradient_checkpointing_kwargs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """As `PreTrainedModel.gradient_checkpointing_enable`; ``use_reentrant`` is always false."""

        def contexts() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
            return nullcontext(), self._hooks()

        settings = {**(gradient_checkpointing_kwargs or {}), "use_reentrant": False, "context_fn": contexts}
        self.language_model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=settings, **kwargs)

    @contextmanager
    def _pass(self, hooks: Hooks) -> Iterator[Any]:
        """The context of one pass; gives what ``hooks`` gives."""
        self._hooks = hooks
        try:
            with hooks() as entered:
                yield entered
        finally:
            self._hooks = nullcontext
