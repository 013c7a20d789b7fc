"""What ``cc-serve`` understands, and how it explains itself."""

from __future__ import annotations

import argparse
from importlib.metadata import version
from pathlib import Path
from typing import Final

from cc_core.terminal.usage import SuggestingParser
from cc_serve.config.configuration import CONFIGURATION_FLAG

ROUTE_FIELDS: Final = ("language", "confidence", "connection", "rule", "scores")
SHELLS: Final = ("bash", "zsh")

_EXIT_CODES = """\
exit codes:
  0    done; after SIGTERM or Ctrl-C, when running answers are finished
  1    the engine died, or a check of `doctor` failed
  2    for you to correct: an option, a file, a checkpoint, a port in use
  130  interrupted before the server was ready"""

_SERVE = """\
this server's own:
  -v, --verbose         everything that vLLM logs, and a line for each request (default: errors only)
  --cc-config FILE      routing, keys and limits; read again on SIGHUP (docs/operations.md)
  --request-log FILE    a JSON line for each request, without its text; - is standard output
  --no-playground       without the page at /playground

vLLM's, those that are wanted most often:
  --host HOST           (default: all interfaces)
  --port PORT           (default: 8000)
  --served-model-name NAME ...        what clients call the model (default: the directory's name)
  --max-model-len TOKENS              prompt and answer together (default: what the model holds)
  --max-num-seqs N                    requests that are computed together
  --dtype TYPE                        (default: the checkpoint's; float32 on a CPU without bfloat16)
  --kv-cache-memory-bytes BYTES       (default: 1 GiB on a CPU)
  --gpu-memory-utilization SHARE      of each GPU's memory
  --tensor-parallel-size N            GPUs that share the model (default: 1)
  --enforce-eager                     do not compile: starts sooner, answers more slowly
  --shutdown-timeout SECONDS          for running answers, after SIGTERM (default: 30)

All of vLLM's flags: --help=all; those about a word: --help=WORD.

examples:
  cc-serve serve outputs/demo --port 8001
  cc-serve serve outputs/demo --cc-config server.yaml --enforce-eager --max-model-len 2048

"""


def make_parser(vllm_flags: argparse.ArgumentParser | None = None) -> argparse.ArgumentParser:
    """The parser of the whole command.

    Args:
        vllm_flags: of ``serve``, where they are to be listed, as for a shell's completion; else all are taken.
    """
    parser = SuggestingParser(
        "cc-serve",
        description="Serve CC-Tuned language models on vLLM.",
        epilog=f"{_EXIT_CODES}\n\nexample: cc-serve doctor outputs/demo && cc-serve serve outputs/demo",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('cc-serve')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_serve(commands, vllm_flags)
    _add_doctor(commands)
    _add_route(commands)
    _add_key(commands)
    _add_completion(commands)
    return parser


def _add_serve(commands: argparse._SubParsersAction, vllm_flags: argparse.ArgumentParser | None) -> None:
    text = "start the OpenAI-compatible server for a CC-Tuned checkpoint"
    if vllm_flags is not None:
        commands.add_parser("serve", help=text, parents=[vllm_flags], add_help=False, conflict_handler="resolve")
        return
    serve = commands.add_parser(
        "serve",
        help=text,
        usage="cc-serve serve CHECKPOINT [-v] [--cc-config FILE] [vLLM flags]",
        description="Start the OpenAI-compatible server for a CC-Tuned checkpoint. It detects each request's language\n"
        'and connects it; a request may say otherwise by "cc_connection" (docs/api.md).',
        epilog=_SERVE + _EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    serve.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="directory of the checkpoint")
    serve.add_argument("vllm_flags", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)


def _add_doctor(commands: argparse._SubParsersAction) -> None:
    doctor = _command(
        commands,
        "doctor",
        "check whether this machine can serve, and say what to do where it cannot",
        "Check Python, processor, torch, vLLM and port, and with CHECKPOINT what it holds and how much\n"
        "memory it needs. Each failure says what to do.",
        "cc-serve doctor outputs/demo --port 8001",
    )
    doctor.add_argument("checkpoint", type=Path, nargs="?", metavar="CHECKPOINT", help="what is to be served")
    doctor.add_argument("--host", default="0.0.0.0", help="to listen on (default: %(default)s)")
    doctor.add_argument("--port", type=int, default=8000, help="to listen on (default: %(default)s)")
    doctor.add_argument(CONFIGURATION_FLAG, type=Path, metavar="FILE", help="check this configuration file, too")
    doctor.add_argument("--json", action="store_true", help="print one JSON object instead of lines")


def _add_route(commands: argparse._SubParsersAction) -> None:
    route = _command(
        commands,
        "route",
        "say how prompts would be routed, without an engine",
        f"Read one JSON string a line, print an object a line:\n{', '.join(ROUTE_FIELDS)}.\n"
        'An undecided language is null; its prompts, like English ones, go plain: "off".',
        "cc-serve route --checkpoint outputs/demo <<< '\"Habari ya leo?\"'",
    )
    route.add_argument(
        "--checkpoint",
        type=Path,
        metavar="DIR",
        help='route as this checkpoint would (default: every language has the connection "global")',
    )


def _add_key(commands: argparse._SubParsersAction) -> None:
    key = commands.add_parser("key", help="make an API key", description="API keys; see docs/operations.md.")
    make = _command(
        key.add_subparsers(required=True, metavar="COMMAND"),
        "new",
        "print a new key, and what to write into the configuration file for it",
        "Print a new key for a client, and the lines for --cc-config, which hold only its SHA-256.",
        "cc-serve key new alice",
    )
    make.add_argument("name", metavar="NAME", help="what limits and the operator know the key by")


def _add_completion(commands: argparse._SubParsersAction) -> None:
    completion = _command(
        commands,
        "completion",
        "print a shell's completion, vLLM's flags included",
        "Print the completion of this command for a shell.",
        "cc-serve completion bash > ~/.local/share/bash-completion/completions/cc-serve",
    )
    completion.add_argument("shell", choices=SHELLS, help="which shell")


def _command(
    commands: argparse._SubParsersAction, name: str, summary: str, description: str, example: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"example: {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
