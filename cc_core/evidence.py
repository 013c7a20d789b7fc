"""The gain of a connection on held-out pairs, as a checkpoint records it. Nothing here loads torch."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

#: Of fewer items, bootstrap samples hardly differ, and an interval would be too narrow: none is given.
FEWEST_FOR_INTERVAL: Final = 10

Nats = Annotated[float, Field(strict=True, allow_inf_nan=False)]
LanguageCode = Annotated[str, Field(pattern=r"^[a-z]{2}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Gain(BaseModel):
    """How much the connection lowers the loss of the answers, in nats per token. Below 0, it raises the loss.

    Args:
        pairs: how many held-out pairs were scored.
        gain: the loss without the connection minus the loss with it, averaged over the pairs.
        low: the lower end of the gain's 95 % interval; None with too few pairs for an interval.
        high: its upper end.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    pairs: int = Field(strict=True, ge=1)
    gain: Nats
    low: Nats | None
    high: Nats | None

    @model_validator(mode="after")
    def _is_an_interval(self) -> Self:
        if self.low is None and self.high is None:
            return self
        if self.low is None or self.high is None:
            raise ValueError(f"low ({self.low}) and high ({self.high}) are no interval: give both, or null for both")
        if not self.low <= self.gain <= self.high:
            raise ValueError(f"low ({self.low}) and high ({self.high}) are no interval about the gain ({self.gain})")
        if self.pairs < FEWEST_FOR_INTERVAL:
            raise ValueError(
                f"pairs ({self.pairs}) are too few for an interval, which needs {FEWEST_FOR_INTERVAL}: "
                "low and high have to be null"
            )
        return self

    @property
    def harms(self) -> bool:
        """Whether the connection was shown to raise the loss: all of the interval lies below 0."""
        return self.high is not None and self.high < 0


class Evidence(BaseModel):
    """The gain of a connection as it is served, by language.

    Args:
        sha256: the digest of the connection's file that was measured.
        held_out_of: ``training`` if no part of it saw the pairs' English prompts; ``fit`` if only the fit of the
            Transform Matrices did not.
        overall: the mean over the languages.
        languages: the gain by language, ISO 639-1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: Sha256
    held_out_of: Literal["training", "fit"]
    overall: Gain
    languages: dict[LanguageCode, Gain]
