"""``cc-serve completion``: a shell's completion, vLLM's flags included."""

from __future__ import annotations

import argparse

from cc_core.terminal.completion import add_shell, print_completion
from cc_serve.commands.command import Commands, add_command
from cc_serve.process.gpu import require_gpu
from cc_serve.process.logs import set_up_logs


def add_parser(commands: Commands) -> None:
    """Add this command."""
    parser = add_command(
        commands,
        "completion",
        run,
        summary="print a shell's completion, vLLM's flags included",
        description="Print the completion of this command for a shell.",
        example="cc-serve completion bash > ~/.local/share/bash-completion/completions/cc-serve",
    )
    add_shell(parser)


def run(options: argparse.Namespace) -> int:
    """Print the completion."""
    set_up_logs(verbose=False)
    require_gpu()
    from cc_serve.api.arguments import make_parser as make_vllm_parser
    from cc_serve.commands.main import make_parser  # main imports this module

    print_completion(make_parser(make_vllm_parser()[1]), options.shell)
    return 0
