"""Texts from the packaged templates."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined


def render(template: str, *, html: bool = False, **values: Any) -> str:
    """Fill ``templates/<template>``; with ``html``, values are escaped."""
    text = files("cc_train").joinpath("templates", template).read_text("utf-8")
    environment = Environment(autoescape=html, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(text).render(**values)
