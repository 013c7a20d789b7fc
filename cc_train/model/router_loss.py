"""The loss that keeps the experts of a mixture in use, where the model's configuration asks for it.

With ``"output_router_logits": true`` in its ``config.json``, a model of transformers computes it and adds
``router_aux_loss_coef`` times its value to the loss of a batch with labels, and so does transformers' Trainer. Our
loss is computed elsewhere, from the same pass.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import PreTrainedModel


def leave_routers_alone_where_nothing_is_trained(model: PreTrainedModel) -> None:
    """Let ``model`` compute its router loss in training only.

    Elsewhere nobody reads it, and transformers could not compute it: with a cache the mask is longer than the tokens,
    and `cc_train.model.activations.capture_at` has the last layer run at the anchors alone.
    """
    if getattr(model.config, "output_router_logits", False):
        model.register_forward_pre_hook(_only_in_training, with_kwargs=True)


def router_loss(model: PreTrainedModel, output: Any) -> Tensor | None:
    """The term to add to a batch's mean loss, a scalar; None if the model's configuration asks for none.

    Args:
        model: made the pass.
        output: of the pass.
    """
    loss: Tensor | None = getattr(output, "aux_loss", None)
    return None if loss is None else float(model.config.router_aux_loss_coef) * loss


def _only_in_training(model: Any, args: Any, keywords: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    trained = model.training and any(parameter.requires_grad for parameter in model.parameters())
    return args, {"output_router_logits": trained} | keywords
