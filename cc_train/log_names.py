"""The names under which a run logs what transformers' Trainer does not: written in training, drawn in the report."""

from __future__ import annotations

from typing import Final

# The part of the loss that aligns the hidden states.
ALIGNMENT: Final = "alignment"
# How often each layer was chosen, by language.
LAYERS: Final = "layers_by_language"
# The scores of generated answers, by task and language.
SCORES: Final = "scores_by_task"
