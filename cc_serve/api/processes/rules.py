"""What several API processes cannot do, and why. Only this module decides that."""

from __future__ import annotations

from argparse import Namespace
from typing import Final

from cc_serve.api.vllm import envs
from cc_serve.config.configuration import Budget, Configuration, ConfigurationError, KeyLimits

FLAG: Final = "--api-server-count"


def count_processes(parsed: Namespace) -> int:
    """How many API processes the flags ask for.

    Raises:
        ValueError: the flags ask for none, or for several and for something that each process would keep for itself.
    """
    asked: int | None = parsed.api_server_count
    if asked is None:
        return 1
    if asked < 1:
        raise ValueError(f"{FLAG} {asked}: a server has at least 1 API process")
    reasons = {
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": ("adapters would be loaded in", envs.VLLM_ALLOW_RUNTIME_LORA_UPDATING),
        "VLLM_ENABLE_RESPONSES_API_STORE": ("responses would be kept by", envs.VLLM_ENABLE_RESPONSES_API_STORE),
        "--enable-server-load-tracking": ("/load would tell the load of", parsed.enable_server_load_tracking),
        "--max-num-queued-tokens": ("queued tokens would be counted in", parsed.max_num_queued_tokens is not None),
        "--enable-elastic-ep": ("engines would be added to", parsed.enable_elastic_ep),
    }
    for name, (what, chosen) in reasons.items():
        if asked > 1 and chosen:
            raise ValueError(f"{name} does not go with {FLAG} {asked}: {what} one of the processes only")
    return asked


def check_limits(configuration: Configuration, count: int) -> None:
    """Refuse limits that ``count`` processes would each keep for themselves.

    Raises:
        ConfigurationError: the message names the field.
    """
    if count == 1 or configuration.limits.store is not None:
        return
    for section, limits in configuration.limits_by_section().items():
        field = _first(limits)
        if field is not None:
            raise ConfigurationError(
                f"{section}.{field}: each of {count} API processes would allow that much; set `limits.store`, where "
                f"they count together, or leave {FLAG} out"
            )


def _first(limits: KeyLimits) -> str | None:
    for field in KeyLimits.model_fields:
        value = getattr(limits, field)
        if field == "budget":
            bounds = [name for name in Budget.model_fields if getattr(value, name) is not None]
            if bounds:
                return f"budget.{bounds[0]}"
        elif value is not None:
            return field
    return None
