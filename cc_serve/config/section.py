"""What all sections of the configuration file have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat

Seconds = Annotated[PositiveFloat, Field(allow_inf_nan=False)]


class Section(BaseModel):
    """A part of the file. It never changes, and unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
