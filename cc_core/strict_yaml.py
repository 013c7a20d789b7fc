"""YAML for files that people write by hand."""

from __future__ import annotations

from typing import Any

import yaml


def load_yaml(text: str) -> Any:
    """Read YAML as ``yaml.safe_load`` does, but refuse a key that is there twice: PyYAML would keep the last one.

    Raises:
        yaml.YAMLError: the text is not YAML, or has a key twice.
    """
    return yaml.load(text, _StrictLoader)


class _StrictLoader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is there twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)
