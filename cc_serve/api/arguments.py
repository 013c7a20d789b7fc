"""The flags of ``cc-serve serve``: vLLM's own, all of them, with this project's defaults."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from cc_core.terminal.usage import SuggestingParser
from cc_serve.api.defaults import ServeDefaults, set_environment
from cc_serve.api.processes.rules import count_processes
from cc_serve.api.vllm import (
    FlexibleArgumentParser,
    ServeSubcommand,
    cli_env_setup,
    configure_logging_from_args,
    envs,
)
from cc_serve.config.configuration import CONFIGURATION_FLAG
from cc_serve.config.keys import VLLM_ENVIRONMENT, hash_key

_EPILOG = "List all flags with --help=all, a section with --help=ModelConfig, a flag with --help=max-model-len.\n"


class _Parser(SuggestingParser, FlexibleArgumentParser):
    """vLLM's parser, which also suggests what was probably meant."""


def parse_arguments(arguments: Sequence[str], *, verbose: bool = False) -> Namespace:
    """Parse ``CHECKPOINT`` and vLLM's flags. Like argparse, print a usage error or the help and exit.

    Args:
        arguments: the arguments after ``cc-serve serve``.
        verbose: whether to log more than errors.

    Raises:
        ValueError, TypeError: a flag or a variable of the environment has a wrong value, or does not work here.
    """
    cli_env_setup()
    set_environment()
    parser, serve = make_parser()
    if arguments and not arguments[0].startswith("-"):
        serve.set_defaults(**asdict(ServeDefaults.of(Path(arguments[0]), verbose=verbose)))
    # vLLM looks for the subcommand to find the model's place among the values of --config.
    parsed: Namespace = parser.parse_args(["serve", *arguments])
    parsed.model = parsed.model_tag
    configure_logging_from_args(parsed)
    ServeSubcommand().validate(parsed)
    _refuse_other_front_ends(parsed)
    parsed.api_server_count = count_processes(parsed)
    if parsed.structured_outputs_config.backend == "auto":
        # With "auto", the first request chooses for all: if xgrammar cannot express it, no tool call works afterwards.
        parsed.structured_outputs_config.backend = "xgrammar"
    return parsed


def make_parser() -> tuple[FlexibleArgumentParser, ArgumentParser]:
    """vLLM's parser under the name ``cc-serve``, and that of its ``serve``."""
    parser = _Parser(prog="cc-serve")
    serve: ArgumentParser = ServeSubcommand().subparser_init(parser.add_subparsers(dest="subparser"))
    serve.usage, serve.epilog = "cc-serve serve CHECKPOINT [vLLM flags]", _EPILOG
    serve.add_argument(
        "--request-log",
        metavar="FILE",
        help="Write one JSON line per generation request here, without its text; - is standard output.",
    )
    serve.add_argument(
        "--no-playground", dest="playground", action="store_false", help="Do not serve the page at /playground."
    )
    # This flag is read before vLLM is loaded. Here, it is for the help and for completion.
    serve.add_argument(CONFIGURATION_FLAG, metavar="FILE", help="Routing, keys and limits, see docs/operations.md.")
    return parser, serve


def take_keys(parsed: Namespace) -> dict[str, str]:
    """Take the keys of vLLM's own authentication, and turn that off: ours takes its place. Returns hashes by name."""
    keys = parsed.api_key or [os.environ.get(VLLM_ENVIRONMENT)]
    parsed.api_key = None
    os.environ.pop(VLLM_ENVIRONMENT, None)
    return {f"api-key-{number}": hash_key(key) for number, key in enumerate(filter(None, keys), start=1)}


def _refuse_other_front_ends(parsed: Namespace) -> None:
    """Raise ValueError for vLLM's front ends that would answer without routing."""
    for name, chosen in (("--enable-scale-out", parsed.enable_scale_out), ("--tokens-only", parsed.tokens_only)):
        if chosen:
            raise ValueError(
                f"{name} generates from token ids, which have no language that could be detected; leave it out: the "
                "render endpoints work without it"
            )
    if parsed.skip_tokenizer_init:
        raise ValueError("--skip-tokenizer-init leaves no text, whose language could be detected; leave it out")
    reasons = {
        "--grpc": parsed.grpc,
        "--headless": parsed.headless,
        "--data-parallel-multi-port-external-lb": parsed.data_parallel_multi_port_external_lb,
        "VLLM_USE_RUST_FRONTEND": envs.VLLM_USE_RUST_FRONTEND,
    }
    for name, applies in reasons.items():
        if applies:
            raise ValueError(f"{name} starts a server without language routing; start several cc-serve instead")
