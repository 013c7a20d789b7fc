"""``cc-serve serve``: check the checkpoint, then start the server."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cc_core.hub import local_directory
from cc_core.terminal.exit_codes import FAILURE, INTERRUPTED
from cc_serve.commands.command import Commands, refuse
from cc_serve.config.configuration import CONFIGURATION_FLAG, ConfigurationError, load_configuration
from cc_serve.config.keys import take_environment_keys
from cc_serve.config.settings import LiveSettings
from cc_serve.process.checked import checked_description
from cc_serve.process.garbage import collect_rarely
from cc_serve.process.gpu import require_gpu
from cc_serve.process.logs import VERBOSE, set_up_logs
from cc_serve.process.phases import CHECKPOINT, IMPORT, enter_phase
from cc_serve.process.progress import StartProgress, ready_message
from cc_serve.process.vllm_release import require_supported_release
from cc_serve.routing.router import Router

EXIT_CODES = """\
exit codes:
  0    done; after SIGTERM or Ctrl-C, when running answers are finished
  1    the engine or an API process died, or a check of `doctor` failed
  2    for you to correct: an option, a file, a checkpoint, a port in use
  130  interrupted before the server was ready"""

_HELP = """\
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
  --api-server-count N                processes that answer HTTP (default: 1; docs/operations.md)
  --enforce-eager                     do not compile: starts sooner, answers more slowly
  --shutdown-timeout SECONDS          for running answers, after SIGTERM (default: 30)

All of vLLM's flags: --help=all; those about a word: --help=WORD.

examples:
  cc-serve serve outputs/demo --port 8001
  cc-serve serve outputs/demo --cc-config server.yaml --enforce-eager --max-model-len 2048

"""


def add_parser(commands: Commands, vllm_flags: argparse.ArgumentParser | None) -> None:
    """Add this command.

    Args:
        commands: the subparsers of ``cc-serve``.
        vllm_flags: vLLM's parser, where each of its flags is to be listed, as for a shell's completion. Without it,
            the parser takes whatever follows CHECKPOINT, and vLLM reads it later.
    """
    summary = "start the OpenAI-compatible server for a CC-Tuned checkpoint"
    if vllm_flags is not None:
        commands.add_parser("serve", help=summary, parents=[vllm_flags], add_help=False, conflict_handler="resolve")
        return
    parser = commands.add_parser(
        "serve",
        help=summary,
        usage="cc-serve serve CHECKPOINT [-v] [--cc-config FILE] [vLLM flags]",
        description="Start the OpenAI-compatible server for a CC-Tuned checkpoint. It detects each request's language\n"
        'and connects it; a request may say otherwise by "cc_connection" (docs/api.md).',
        epilog=_HELP + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "checkpoint", type=Path, metavar="CHECKPOINT", help="directory of the checkpoint, or its id on the hub"
    )
    parser.add_argument("vllm_flags", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def answer_before_parsing(arguments: Sequence[str], parser: argparse.ArgumentParser) -> None:
    """Exit if ``arguments``, which follow ``serve``, ask for vLLM's help or the version, or do not begin with a
    checkpoint. argparse would stop at the first flag that it does not know.
    """
    if "--version" in arguments:
        parser.parse_args(["--version"])
    if any(argument.startswith("--help=") for argument in arguments):
        require_supported_release()
        require_gpu()
        from cc_serve.api.arguments import parse_arguments

        parse_arguments(list(arguments))  # prints vLLM's own help, and exits
    if not arguments:
        parser.error("CHECKPOINT is missing: cc-serve serve CHECKPOINT [vLLM flags]")
    if arguments[0].startswith("-") and arguments[0] not in ("-h", "--help"):
        parser.error("CHECKPOINT comes first: cc-serve serve CHECKPOINT [vLLM flags]")


def run(options: argparse.Namespace) -> int:
    """Serve until a signal stops the server."""
    verbose = any(flag in VERBOSE for flag in options.vllm_flags)
    vllm_flags = [flag for flag in options.vllm_flags if flag not in VERBOSE]
    # A line that is rewritten would be mixed with vLLM's own lines.
    with StartProgress(live=False if verbose else None) as progress:
        try:
            return _start(options.checkpoint, vllm_flags, verbose, progress)
        except KeyboardInterrupt:
            progress.finish()
            print("cc-serve: interrupted before the server was ready", file=sys.stderr)
            return INTERRUPTED


def _start(checkpoint: Path, vllm_flags: list[str], verbose: bool, progress: StartProgress) -> int:
    set_up_logs(verbose)
    collect_rarely()
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument(CONFIGURATION_FLAG, dest="path", type=Path)
    try:
        path = first.parse_known_args(vllm_flags)[0].path
        if path is not None:
            load_configuration(path)
        # Before vLLM is imported, so that nobody waits a minute to learn that a checkpoint cannot be served.
        enter_phase(CHECKPOINT)
        directory = local_directory(checkpoint)
        # The directory of a download is named after a commit. A flag of the caller's comes later and overrides this.
        named = [] if directory == checkpoint else ["--served-model-name", str(checkpoint)]
        checkpoint, vllm_flags = directory, [*named, *vllm_flags]
        checked_description(checkpoint)
        require_supported_release()
        require_gpu()
        settings = LiveSettings(path, Router.of(checkpoint), take_environment_keys(os.environ))
        _check_store(settings)
    except ValueError as error:
        progress.finish()
        return refuse(error)
    enter_phase(IMPORT)
    from cc_serve.api.server import ServerFailedError, serve
    from cc_serve.api.start import StartError

    def on_ready(address: str, model: str, router: Router, playground: bool) -> None:
        message = ready_message(
            address, model, router.connected, progress.finish(), playground=playground, harmed=router.harmed
        )
        print(message, file=sys.stderr, flush=True)

    try:
        serve(checkpoint, settings, vllm_flags, verbose=verbose, on_ready=on_ready)
    except StartError as error:
        progress.finish()
        return refuse(error)
    except ServerFailedError as error:
        print(f"cc-serve: {error}", file=sys.stderr)
        return FAILURE
    return 0


def _check_store(settings: LiveSettings) -> None:
    """Raise ConfigurationError if the store that the limits name cannot be used."""
    current = settings.current
    if (store := current.store) is None:
        return
    from cc_serve.api.tenants.check import check_store

    try:
        check_store(store, current.callers)
    except ConfigurationError as error:
        raise ConfigurationError(f"{settings.path}: {error}") from error
