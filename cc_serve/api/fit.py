"""How well a checkpoint's Transform Matrices were fitted, as its file of the fit tells."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from cc_core.names import FIT_FILE

logger = logging.getLogger(__name__)


class Agreement(BaseModel):
    """How close activations come to the true English ones. Each figure is at most 1.

    Args:
        r2: the coefficient of determination over all layers; null if the true activations do not vary.
        cosine: the cosine, averaged over the layers.
        agreement: the share of pairs for which the same layer is chosen.
        cosine_by_layer: the cosine of each layer, for `GET /v1/layers`.
    """

    r2: float | None
    cosine: float
    agreement: float
    cosine_by_layer: list[float] = Field(default=[], exclude=True)


class Fit(BaseModel):
    """How well a Transform Matrix does on pairs held out of its fit.

    Args:
        pairs: how many held-out pairs were scored.
        transform: how close the transformed activations come.
        identity: how close the same activations come without a matrix.
        answer_loss: the answer's loss in nats per token, by connection: ``plain`` (none), ``identity``, ``transform``,
            and ``english`` (the true English activations), which no matrix can better.
    """

    pairs: int
    transform: Agreement
    identity: Agreement
    answer_loss: dict[str, float]


def load_fit(checkpoint: Path) -> dict[str, Fit]:
    """The fit's figures by language, and for ``all``; empty if the checkpoint does not have them.

    They only inform. If the file cannot be read, a warning names it, and the server starts without them.
    """
    path = checkpoint / FIT_FILE
    try:
        scores = json.loads(path.read_bytes())["scores"]
        return {name: Fit.model_validate(figures) for name, figures in scores.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        problem = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        logger.warning("%s is left out of /v1/languages: %s", path, problem)
        return {}
