"""The ``vllm.general_plugins`` entry point; vLLM calls `register` in every process it starts."""

import logging
import multiprocessing
import signal
import threading

from cc_core.architectures import CC_PREFIX, FAMILIES
from cc_serve.process.garbage import collect_as_usual
from cc_serve.process.logs import quieten_libraries
from cc_serve.process.phases import in_a_start
from cc_serve.process.vllm_release import UnsupportedReleaseError, require_supported_release


def register() -> None:
    """Register the connected model classes and their configuration hook. Idempotent.

    With an unsupported release of vLLM it only logs why it registers nothing: other models can still be served. vLLM
    then refuses the connected class as unknown.
    """
    try:
        require_supported_release()
    except UnsupportedReleaseError as error:
        logging.getLogger("vllm.cc_serve").error("CC-Tuned checkpoints cannot be served: %s", error)
        return
    if in_a_start():  # only in a process of cc-serve: any other that imports vLLM keeps its own settings
        _leave_interrupts_to_the_parent()
        collect_as_usual()  # the imports are done
    quieten_libraries()

    from vllm.model_executor.models import ModelRegistry
    from vllm.model_executor.models.config import MODELS_CONFIG_MAP

    from cc_serve.engine.config import ConnectionConfigHook

    for base in FAMILIES:
        connected = CC_PREFIX + base
        MODELS_CONFIG_MAP[connected] = ConnectionConfigHook
        if connected not in ModelRegistry.get_supported_archs():
            ModelRegistry.register_model(connected, f"cc_serve.engine.model:{connected}")


def _leave_interrupts_to_the_parent() -> None:
    """Ignore SIGINT in the processes of a server's engine.

    Ctrl-C reaches every process of the terminal's group, and vLLM's workers would end while the server still finishes
    the running responses. The server ends the workers itself, by SIGTERM.
    """
    if multiprocessing.parent_process() is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
