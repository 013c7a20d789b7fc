"""Everything that the server takes from vLLM. No other module of `cc_serve.api` imports vLLM.

None of this is a stable API; ``tests/audits/test_vllm_symbols.py`` says what a new release has moved. Importing this
module loads most of vLLM, which takes seconds.
"""

from vllm import envs as envs
from vllm.config import ModelConfig as ModelConfig
from vllm.config import VllmConfig as VllmConfig
from vllm.engine.arg_utils import AsyncEngineArgs as AsyncEngineArgs
from vllm.entrypoints.cli.serve import ServeSubcommand as ServeSubcommand
from vllm.entrypoints.launchers.api_server.app_state import init_app_state as init_app_state
from vllm.entrypoints.launchers.api_server.entry import (
    build_async_engine_client_from_engine_args as build_async_engine_client_from_engine_args,
)
from vllm.entrypoints.launchers.app import build_app as build_app
from vllm.entrypoints.launchers.launcher import serve_http as serve_http
from vllm.entrypoints.launchers.launcher import setup_server as setup_server
from vllm.entrypoints.launchers.utils.server_utils import get_uvicorn_log_config as get_uvicorn_log_config
from vllm.entrypoints.openai.completion.protocol import CompletionRequest as CompletionRequest
from vllm.entrypoints.scale_out.derender.api_router import router as _derender
from vllm.entrypoints.scale_out.render.api_router import router as _render
from vllm.entrypoints.scale_out.token_in_token_out.api_router import router as _tokens
from vllm.entrypoints.serve.exception_handling.error_response import create_error_response as create_error_response
from vllm.exceptions import GracefulHTTPError as GracefulHTTPError
from vllm.exceptions import VLLMClientError as VLLMClientError
from vllm.exceptions import VLLMValidationError as VLLMValidationError
from vllm.logger import configure_logging as configure_logging
from vllm.logger import configure_logging_from_args as configure_logging_from_args
from vllm.model_executor.model_loader import get_model_loader as get_model_loader
from vllm.outputs import RequestOutput as RequestOutput
from vllm.platforms import current_platform as current_platform
from vllm.reasoning import ReasoningParserManager as ReasoningParserManager
from vllm.renderers.chat_utils import load_chat_template as load_chat_template
from vllm.sampling_params import RequestOutputKind as RequestOutputKind
from vllm.sampling_params import SamplingParams as SamplingParams
from vllm.tokenizers.registry import cached_tokenizer_from_config as cached_tokenizer_from_config
from vllm.tool_parsers import ToolParserManager as ToolParserManager
from vllm.usage.usage_lib import UsageContext as UsageContext
from vllm.utils.argparse_utils import FlexibleArgumentParser as FlexibleArgumentParser
from vllm.utils.import_utils import resolve_obj_by_qualname as resolve_obj_by_qualname
from vllm.utils.system_utils import decorate_logs as decorate_logs
from vllm.utils.system_utils import set_process_title as set_process_title
from vllm.v1.engine.exceptions import EngineDeadError as EngineDeadError
from vllm.v1.engine.utils import CoreEngineLaunch as CoreEngineLaunch
from vllm.v1.engine.utils import bind_engine_zmq_listeners as bind_engine_zmq_listeners
from vllm.v1.engine.utils import launch_core_engines as launch_core_engines
from vllm.v1.executor import Executor as Executor
from vllm.v1.metrics.prometheus import setup_multiprocess_prometheus as setup_multiprocess_prometheus
from vllm.v1.utils import APIServerProcessManager as APIServerProcessManager

try:
    from vllm.entrypoints.common.startup import cli_env_setup as cli_env_setup
except ImportError:  # its place in vLLM 0.32
    from vllm.entrypoints.serve.utils.api_utils import cli_env_setup as cli_env_setup

#: The endpoints that turn text into tokens and back, and those that generate from tokens.
RENDER_ROUTERS = (_render, _derender)
TOKEN_ROUTER = _tokens
