"""The server's configuration file: routing, keys and limits, read into one immutable object."""

from __future__ import annotations

import difflib
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, Self, get_args, get_origin

import yaml
from pydantic import BaseModel, Field, PositiveInt, ValidationError, model_validator

from cc_core.evidence import Sha256
from cc_core.strict_yaml import load_yaml
from cc_core.terminal.text import one_line
from cc_serve.config.keys import KEY_NAME
from cc_serve.config.section import Seconds, Section
from cc_serve.config.store import Store
from cc_serve.payloads import LEAST_WEIGHT, MOST_WEIGHT
from cc_serve.routing.policy import RoutingPolicy, Share

#: The server's flag that names the file.
CONFIGURATION_FLAG: Final = "--cc-config"
_SHOWN: Final = 5
# What pydantic says in Python's words.
_IN_YAML: Final = {
    "model_type": "should be a mapping of fields to values",
    "dict_type": "should be a mapping",
    "tuple_type": "should be a list, such as [a, b]",
    "too_short": "may not be empty",
}

KeyName = Annotated[str, Field(pattern=f"^{KEY_NAME}$")]

Weight = Annotated[float, Field(ge=LEAST_WEIGHT, le=MOST_WEIGHT, allow_inf_nan=False)]


class ConfigurationError(ValueError):
    """The configuration cannot be used; the message names the file and the field."""


class Budget(Section):
    """What one key may use in a day and in a month, in UTC. A field that is not set allows any amount."""

    requests_per_day: PositiveInt | None = Field(default=None, description="Requests from midnight to midnight.")
    requests_per_month: PositiveInt | None = Field(default=None, description="Requests in a calendar month.")
    tokens_per_day: PositiveInt | None = Field(default=None, description="Tokens from midnight to midnight.")
    tokens_per_month: PositiveInt | None = Field(default=None, description="Tokens in a calendar month.")


class KeyLimits(Section):
    """What one key may use. A field that is not set allows any amount."""

    requests_per_minute: PositiveInt | None = Field(
        default=None, description="Requests; those of a whole minute may come at once."
    )
    tokens_per_minute: PositiveInt | None = Field(
        default=None, description="Tokens of prompts and answers, counted as the engine computes them."
    )
    concurrent_requests: PositiveInt | None = Field(default=None, description="Requests at the same time.")
    budget: Budget = Field(
        default=Budget(), description="What a day and a month allow; needs `limits.store` or `usage.file`."
    )


class Usage(Section):
    """Where the server keeps what each key has used."""

    file: Path | None = Field(
        default=None, description="An SQLite file of this server; unset: `limits.store` keeps the usage, if it is set."
    )
    keep_days: PositiveInt = Field(default=400, description="For how many days usage is kept.")


class Limits(Section):
    """What the server admits. The defaults set bounds where vLLM has none."""

    per_key: KeyLimits = Field(default=KeyLimits(), description="For each key, unless its own `limits` differ.")
    store: Store | None = Field(
        default=None, description="Where several servers count together what keys use; unset: each counts by itself."
    )
    concurrent_requests: PositiveInt | None = Field(
        default=2048,
        description="Requests of all callers at the same time, those that wait in the engine included; with several "
        "callers, the last eighth is kept for those that hold less than their share.",
    )
    body_bytes: PositiveInt = Field(default=8 << 20, description="Size of a request's body.")
    client_seconds: Seconds = Field(
        default=60.0, description="Time that a client has to send its body, and to receive each piece of an answer."
    )
    choices: PositiveInt = Field(default=128, description="`n` and `best_of` of a request.")
    sequences: PositiveInt = Field(default=1024, description="Answers to one request: its prompts times `n`.")
    prompt_tokens: PositiveInt | None = Field(
        default=None, description="Length of a prompt; unset: what the model can hold."
    )
    output_tokens: PositiveInt | None = Field(
        default=None, description="Length of an answer; a request that names no length gets this one."
    )
    deadline_seconds: Seconds | None = Field(
        default=None, description="Time from a request's arrival to the last token of its answer."
    )
    pattern_characters: PositiveInt = Field(
        default=4096,
        description="Length of the regular expressions, grammars and lists of choices that an answer must follow, "
        "since the engine's time for them grows faster than their length.",
    )


class Metrics(Section):
    """Measurements of a sample of the requests."""

    answer_languages: Share = Field(
        default=0.1,
        description="Share of answers, 0 to 1, whose language is counted together with the question's; 0 counts none.",
    )


class Key(Section):
    """An API key, of which the file has only the hash."""

    sha256: Sha256
    admin: bool = Field(default=False, description="May call /admin.")
    weight: Weight = Field(
        default=1.0,
        description="How many turns and places the key gets for each one of a key with weight 1, while requests of "
        "several keys wait.",
    )
    limits: KeyLimits = Field(default=KeyLimits(), description="Fields that differ from `limits.per_key`.")
    routing: RoutingPolicy = Field(default=RoutingPolicy(), description="Fields that differ from `routing`.")


class Configuration(Section):
    """Everything that the file may contain."""

    routing: RoutingPolicy = RoutingPolicy()
    keys: dict[KeyName, Key] = Field(
        default={}, description="By name. If there is one, all requests but those that read the probes need a key."
    )
    open_paths: tuple[Annotated[str, Field(pattern=r"^/")], ...] = Field(
        default=(), description="Exact paths, beside those of the probes, that need no key."
    )
    limits: Limits = Limits()
    metrics: Metrics = Metrics()
    usage: Usage = Usage()

    @model_validator(mode="after")
    def _no_key_twice(self) -> Self:
        names: dict[str, str] = {}
        for name, key in self.keys.items():
            if key.sha256 in names:
                raise ValueError(f"{names[key.sha256]!r} and {name!r} are the same key")
            names[key.sha256] = name
        return self

    @model_validator(mode="after")
    def _usage_in_one_place(self) -> Self:
        if self.limits.store is not None and self.usage.file is not None:
            raise ValueError("usage.file: `limits.store` keeps the usage of all servers; leave one of them out")
        if self.limits.store is None and self.usage.file is None:
            for section, limits in self.limits_by_section().items():
                if limits.budget != Budget():
                    raise ValueError(
                        f"{section}.budget: needs `usage.file` or `limits.store`; a restart would forget it"
                    )
        return self

    def limits_by_section(self) -> dict[str, KeyLimits]:
        """What the file says of keys' limits, by the section that says it."""
        named = {f"keys.{name}.limits": key.limits for name, key in self.keys.items()}
        return {"limits.per_key": self.limits.per_key, **named}

    def limits_of(self, name: str | None) -> KeyLimits:
        """What the key called ``name`` may use; None is a request without a key."""
        key = self.keys.get(name) if name is not None else None
        common = self.limits.per_key
        changes = _set_fields(key.limits) if key else {}
        if key is not None and "budget" in changes:
            changes["budget"] = common.budget.model_copy(update=_set_fields(key.limits.budget))
        return common.model_copy(update=changes)

    def routing_of(self, name: str | None) -> RoutingPolicy:
        """How requests of the key called ``name`` are routed."""
        key = self.keys.get(name) if name is not None else None
        return self.routing.replaced(**_set_fields(key.routing)) if key else self.routing


def load_configuration(path: Path) -> Configuration:
    """Read and validate a configuration file.

    Raises:
        ConfigurationError: the file cannot be read or is not YAML, or a field is wrong.
    """
    try:
        content = load_yaml(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path}: is not YAML ({one_line(error)})") from error
    if content is not None and not isinstance(content, dict):
        raise ConfigurationError(f"{path}: is not a mapping of sections: {', '.join(Configuration.model_fields)}")
    try:
        return Configuration.model_validate(content or {})
    except ValidationError as error:
        problems = [_problem(details["loc"], details["type"], details["msg"]) for details in error.errors()]
        more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise ConfigurationError(f"{path}: {'; '.join([*problems[:_SHOWN], *more])}") from error


def _set_fields(section: BaseModel) -> dict[str, Any]:
    return {name: getattr(section, name) for name in section.model_fields_set}


def _problem(location: tuple[int | str, ...], kind: str, message: str) -> str:
    if kind == "invalid_key" or (location[-1:] == ("[key]",) and kind == "string_type"):
        section = ".".join(map(str, location[: -1 if kind == "invalid_key" else -2])) or "the file"
        return f'{section}: a name must be text; quote it ("no"), because YAML reads no, on and digits as other values'
    place = ".".join(map(str, location)) or "the file"
    if kind != "extra_forbidden":
        message = _IN_YAML.get(kind, message)
        return f"{place}: {message.removeprefix('Value error, ').replace('Input should', 'should')}"
    known = _fields_at(location[:-1])
    close = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f"{place}: unknown field; " + (f"did you mean {close[0]}?" if close else f"there are: {', '.join(known)}")


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    """The names of the fields that the section at ``location`` has."""
    kind: Any = Configuration
    for step in location:
        kind = get_args(kind)[1] if get_origin(kind) is dict else kind.model_fields[step].annotation
        if get_origin(kind) is UnionType:  # a section that may be left out
            kind = get_args(kind)[0]
    return list(kind.model_fields)
