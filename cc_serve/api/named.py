"""Look up what flags name (a tokenizer, a template, classes, adapters, a format) before the engine's process starts.

vLLM looks some of these up in that process, where a wrong name ends in a traceback, and others only when the engine is
ready.
"""

from __future__ import annotations

import inspect
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from transformers.utils.chat_template_utils import _compile_jinja_template

from cc_core.terminal.text import one_line
from cc_serve.api.vllm import (
    Executor,
    ModelConfig,
    SamplingParams,
    VllmConfig,
    cached_tokenizer_from_config,
    get_model_loader,
    load_chat_template,
    resolve_obj_by_qualname,
)

# The executors that vLLM knows by a word (`Executor.get_class`); any other is a class's name.
_EXECUTORS: Final = ("ray", "mp", "uni", "external_launcher")


class MissingError(ValueError):
    """The thing that a flag names is not there, or cannot be used."""


def look_up_for_front_end(arguments: Namespace) -> None:
    """Look up what the front end gets by name. Raises `MissingError`."""
    for name in arguments.middleware:
        with _of("--middleware", name):
            found = _find(name)
            if not inspect.isclass(found) and not inspect.iscoroutinefunction(found):
                raise TypeError("is neither a class nor a coroutine function")
    executor = arguments.distributed_executor_backend
    if executor and executor not in _EXECUTORS:
        with _of("--distributed-executor-backend", executor):
            found = _find(executor)
            if not inspect.isclass(found) or not issubclass(found, Executor):
                raise TypeError("is no subclass of vLLM's Executor")
    if arguments.chat_template:
        with _of("--chat-template", arguments.chat_template):
            _compile_jinja_template(load_chat_template(arguments.chat_template))
    for adapter in arguments.lora_modules or []:
        flag = f"--lora-modules {adapter.name}={adapter.path}"
        if not arguments.enable_lora:
            raise MissingError(f"{flag}: needs --enable-lora, too")
        is_directory = adapter.path.startswith(("/", "."))  # otherwise, it may be an adapter's id on the hub
        if is_directory and not (Path(adapter.path) / "adapter_config.json").is_file():
            raise MissingError(f"{flag}: there is no adapter_config.json")
    if arguments.model_impl not in ("auto", "vllm"):
        raise MissingError(f"--model-impl {arguments.model_impl}: a CC-Tuned checkpoint needs vLLM's own models")
    for flag, value in (
        ("--io-processor-plugin", arguments.io_processor_plugin),
        ("--pooler-config", arguments.pooler_config),
    ):
        if value is not None:
            raise MissingError(f"{flag} {str(value)[:160]} has no effect on a model that generates text; leave it out")


def look_up_for_engine(config: VllmConfig) -> None:
    """Look up what the engine gets by name. Raises `MissingError`."""
    model = config.model_config
    with _of("--load-format", config.load_config.load_format):
        get_model_loader(config.load_config)
    for flag, names, separator in (
        ("--worker-extension-cls", [config.parallel_config.worker_extension_cls], "."),
        ("--logits-processors", model.logits_processors or [], ":"),
    ):
        for name in names:
            if isinstance(name, str) and name:
                with _of(flag, name):
                    _find(name, separator)
    for flag, value, usual in (
        ("--tokenizer", model.tokenizer, model.model),
        ("--tokenizer-mode", model.tokenizer_mode, "auto"),
    ):
        if value != usual:
            with _of(flag, value):
                cached_tokenizer_from_config(model)
    _check_sampling_defaults(model)


def _check_sampling_defaults(model: ModelConfig) -> None:
    source = model.generation_config
    if source not in ("auto", "vllm") and not (Path(source) / "generation_config.json").is_file():
        raise MissingError(f"--generation-config {source}: there is no generation_config.json")
    with _of("--override-generation-config", model.override_generation_config):
        SamplingParams(**model.get_diff_sampling_param())


def _find(name: str, separator: str = ".") -> object:
    """The object called ``MODULE.NAME``, or ``MODULE:NAME`` where vLLM writes it so."""
    module, _, attribute = name.rpartition(separator)
    if not module or not attribute or ":" in module + attribute:
        raise ValueError(f"must be MODULE{separator}NAME")
    return resolve_obj_by_qualname(f"{module}.{attribute}")


@contextmanager
def _of(flag: str, value: object) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise MissingError(f"{flag} {str(value)[:160]}: {one_line(error)[:200]}") from error
