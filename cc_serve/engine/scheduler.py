"""Scheduling a connection: when a chunk first covers the anchor, capture it, and run the anchor once more.

A connection only changes the anchor's row, and attention is causal, so every earlier KV entry stays right. After the
capture step the request is rewound to the anchor, and the next chunk overwrites the anchor's KV with the connected one.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

from vllm.config import VllmConfig
from vllm.logger import init_logger
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.request_queue import SchedulingPolicy
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.engine import EngineCoreOutputs
from vllm.v1.kv_cache_interface import KVCacheConfig
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request

from cc_core.names import is_strength
from cc_core.terminal.text import counted
from cc_serve.engine.admission import WRONG_DIGEST, unknown_connection, wrong_strength
from cc_serve.engine.config import EngineConnection
from cc_serve.engine.drafts import drafts_of, may_draft
from cc_serve.engine.layer_choices import NOT_FINITE, NOT_HELD, chosen_layers
from cc_serve.engine.marks import CaptureMark, ConnectionMarks, InjectMark, marks_of
from cc_serve.engine.private_tail import PrivateTails
from cc_serve.engine.turns import TurnQueue
from cc_serve.engine.zeroing import ZeroedCacheConfig
from cc_serve.payloads import DIGEST, ENGINE_ARGUMENT, ENGINE_REPORT, STRENGTH

logger = init_logger(__name__)

_PROMPT_SCORES = ("prompt_logprobs_dict", "prompt_token_id_logprobs_dict")
SESSION_REFUSAL = "a streaming-input session cannot be connected"
NOT_FINITE_REFUSAL = (
    "connection '{}' came out infinite or NaN for this prompt; turn it off for this request, or serve with "
    "--dtype float32"
)
NOT_HELD_REFUSAL = "connection '{}' of the file with SHA-256 {} is not held any more; send the request again"


class Phase(enum.Enum):
    """How far a connected request has come."""

    PREFILL = enum.auto()  # the anchor has not been captured
    CAPTURED = enum.auto()  # the next chunk begins at the anchor and injects
    CONNECTED = enum.auto()  # the KV cache has the connected anchor
    REFUSED = enum.auto()  # the next step has no effect, after which vLLM ends the request with an error


@dataclass
class ConnectedRequest:
    """A request's connection and its progress.

    Args:
        matrix: the name of the Transform Matrix.
        anchor: the anchor's position in the prompt.
        sha256: the digest of the connection that has the matrix.
        strength: the factor of the vector to add.
        phase: how far the request has come.
        slot: the slot that it holds from the capture step to the inject step.
        layer: the layer that the Decision Maker chose.
        captures: how often the anchor was captured; each preemption makes one more capture necessary.
        stop_strings: whether the request has stop strings, so that the front end may end it after any token.
        draft_confirmed: whether the connected model confirmed the capture step's token; None if that was no draft.
        prompt_scores: the prompt's log-probabilities by kind, kept from the capture step to the inject step.
    """

    matrix: str
    anchor: int
    sha256: str
    strength: float = 1.0
    phase: Phase = Phase.PREFILL
    slot: int | None = None
    layer: int | None = None
    captures: int = 0
    stop_strings: bool = False
    draft_confirmed: bool | None = None
    prompt_scores: dict[str, Any] = field(default_factory=dict)

    def report_beside(self, parameters: dict[str, Any] | None) -> dict[str, Any]:
        """A KV connector's ``parameters``, if any, together with the report on the request's connection."""
        report: dict[str, Any] = {"name": self.matrix, "layer": self.layer, "captures": self.captures}
        if self.strength != 1:
            report["strength"] = self.strength
        if self.draft_confirmed is not None:
            report["draft_confirmed"] = self.draft_confirmed
        return {**(parameters or {}), ENGINE_REPORT: report}


class ConnectionSchedulerMixin(Scheduler):
    """Marks capture and inject steps; over vLLM's sync or async scheduler."""

    def __init__(self, vllm_config: VllmConfig, kv_cache_config: KVCacheConfig, *args: Any, **kwargs: Any) -> None:
        super().__init__(vllm_config, ZeroedCacheConfig.of(kv_cache_config), *args, **kwargs)
        if self.policy is SchedulingPolicy.FCFS:  # under priorities, vLLM's own queue stays
            self.waiting = TurnQueue()
        self._settings = EngineConnection.of(self.vllm_config)
        self._connected: dict[str, ConnectedRequest] = {}
        self._free_slots = list(range(self._settings.num_slots))
        self._tails = PrivateTails(self.hash_block_size)
        self._problems: dict[str, str] = {}  # why requests end with the next output, by request id

    def add_request(self, request: Request) -> None:
        """Queue a request. One that asks for a connection that it cannot have ends with an error, never plain."""
        arguments = (request.sampling_params and request.sampling_params.extra_args) or {}
        matrix, strength = arguments.get(ENGINE_ARGUMENT), arguments.get(STRENGTH, 1.0)
        sha256 = arguments.get(DIGEST, self._settings.sha256)
        session = self.requests.get(request.request_id)
        if matrix is not None and session is None:
            anchor = request.num_prompt_tokens + self._settings.anchor_offset
            stop_strings = bool(request.sampling_params and request.sampling_params.stop)
            connected = ConnectedRequest(matrix, anchor, sha256, strength, stop_strings=stop_strings)
            if problem := self._problem(request, connected):
                self._refuse(request, connected, problem)
            else:
                self._tails.make_private(request, anchor)
                if self.connector is not None:
                    self._tails.keep_from_store(request, anchor)
            self._connected[request.request_id] = connected
        elif matrix is not None and session is not None and request.resumable:  # the session may have begun plain
            connected = self._connected.setdefault(request.request_id, ConnectedRequest(matrix, 0, sha256))
            self._refuse(session, connected, SESSION_REFUSAL)
        super().add_request(request)

    def _refuse(self, request: Request, connected: ConnectedRequest, problem: str) -> None:
        logger.error("request %s refused: %s", request.request_id, problem)
        connected.phase = Phase.REFUSED
        self._problems[request.request_id] = problem
        # vLLM ends the members of this set with an error when the step's output is processed.
        self.grammar_compile_error_reqs.add(request.request_id)

    def _problem(self, request: Request, connected: ConnectedRequest) -> str | None:
        if not isinstance(connected.sha256, str):
            return WRONG_DIGEST
        # The names of other connections are checked by the front end and by the worker.
        if connected.sha256 == self._settings.sha256 and connected.matrix not in self._settings.names:
            return unknown_connection(connected.matrix, self._settings.names)
        if not is_strength(connected.strength):
            return wrong_strength(connected.strength)
        if connected.anchor < 0:
            offset = self._settings.anchor_offset
            return f"a prompt of {counted(request.num_prompt_tokens, 'token')} has no anchor at offset {offset}"
        if request.prompt_token_ids is None or request.prompt_is_token_ids is not None:
            return "prompt embeddings cannot be connected"
        if request.resumable:
            return SESSION_REFUSAL
        parameters = request.sampling_params
        if parameters and self._settings.anchor_offset != -1:
            if parameters.prompt_logprobs is not None:
                return "prompt_logprobs need an anchor at the prompt's last token"
            if parameters.prompt_logprob_token_ids is not None:
                return "prompt_logprob_token_ids need an anchor at the prompt's last token"
        return None

    def _update_after_schedule(self, scheduler_output: SchedulerOutput) -> None:
        marks = ConnectionMarks()
        if self._connected:
            for request_id, num_tokens in scheduler_output.num_scheduled_tokens.items():
                connected = self._connected.get(request_id)
                if connected is not None:
                    self._mark(self.requests[request_id], connected, num_tokens, marks)
        marks.attach_to(scheduler_output)
        super()._update_after_schedule(scheduler_output)

    def _mark(self, request: Request, connected: ConnectedRequest, num_tokens: int, marks: ConnectionMarks) -> None:
        if connected.phase is Phase.REFUSED:
            marks.waiting.append(request.request_id)
            marks.rewound[request.request_id] = request.num_computed_tokens
            request.num_computed_tokens -= num_tokens
            return
        offset = connected.anchor - request.num_computed_tokens
        if connected.phase is Phase.CONNECTED or offset >= num_tokens:
            return
        assert offset >= 0  # the tail is private, so no prefix cache hit reaches the anchor
        if connected.phase is Phase.CAPTURED:
            assert connected.slot is not None
            marks.inject[request.request_id] = InjectMark(offset, connected.slot)
            # The worker reads the slot before this step's forward pass, so a capture of this step may reuse it.
            self._release_slot(connected)
            connected.phase = Phase.CONNECTED
        else:
            if self._free_slots:
                connected.slot = self._free_slots.pop()
                connected.phase = Phase.CAPTURED
                connected.captures += 1
                whole = request.num_computed_tokens + num_tokens == request.num_tokens
                drafts = self._settings.drafts and whole and may_draft(request)
                marks.capture[request.request_id] = CaptureMark(
                    offset, connected.slot, connected.matrix, connected.sha256, connected.strength, drafts
                )
            else:
                marks.waiting.append(request.request_id)
            marks.rewound[request.request_id] = connected.anchor
            # The base class adds num_tokens next, lands on the anchor, and takes that for an unfinished prefill. So it
            # samples nothing, and async scheduling adds no output placeholder.
            request.num_computed_tokens = connected.anchor - num_tokens

    def update_from_output(
        self, scheduler_output: SchedulerOutput, model_runner_output: ModelRunnerOutput
    ) -> dict[int, EngineCoreOutputs]:
        """Store the chosen layers, and give each refused request the reason as its ``stop_reason``."""
        for request_id, layer in chosen_layers(model_runner_output).items():
            if connected := self._connected.get(request_id):
                connected.layer = layer
                if layer == NOT_FINITE:
                    self._refuse(self.requests[request_id], connected, NOT_FINITE_REFUSAL.format(connected.matrix))
                elif layer == NOT_HELD:
                    problem = NOT_HELD_REFUSAL.format(connected.matrix, connected.sha256)
                    self._refuse(self.requests[request_id], connected, problem)
        self._hold_prompt_scores(marks_of(scheduler_output), model_runner_output)
        for request_id in scheduler_output.scheduled_spec_decode_tokens if self._settings.drafts else ():
            if connected := self._connected.get(request_id):
                place = model_runner_output.req_id_to_index[request_id]
                connected.draft_confirmed = len(model_runner_output.sampled_token_ids[place]) == 2
        outputs = super().update_from_output(scheduler_output, model_runner_output)
        for request_id, token in drafts_of(model_runner_output).items():
            connected = self._connected.get(request_id)
            if connected is not None and connected.phase is Phase.CAPTURED:
                self.requests[request_id].spec_token_ids = [token]
        if self._connected or self._problems:
            for output in (output for client in outputs.values() for output in client.outputs):
                output.stop_reason = self._problems.get(output.request_id, output.stop_reason)
                connected = self._connected.get(output.request_id)
                if connected is not None and connected.stop_strings:
                    output.kv_transfer_params = connected.report_beside(output.kv_transfer_params)
        self._problems.clear()  # also those of requests that were aborted in the meantime
        return outputs

    def _hold_prompt_scores(self, marks: ConnectionMarks, output: ModelRunnerOutput) -> None:
        # The capture step completes the prompt, and the prompt's log-probabilities; but vLLM expects these together
        # with the first token.
        for kind in _PROMPT_SCORES:
            scores = getattr(output, kind)
            for request_id in marks.rewound:
                held, connected = scores.pop(request_id, None), self._connected.get(request_id)
                if held is not None and connected is not None:
                    connected.prompt_scores[kind] = held
            for request_id in marks.inject:
                connected = self._connected.get(request_id)
                if connected is not None and kind in connected.prompt_scores:
                    scores[request_id] = connected.prompt_scores.pop(kind)

    def make_spec_decoding_stats(self, spec_decoding_stats: Any, *args: Any, **kwargs: Any) -> Any:
        """Leave our drafts out of vLLM's statistics, which are those of a speculative method."""
        if self._settings.drafts:
            return spec_decoding_stats
        return super().make_spec_decoding_stats(spec_decoding_stats, *args, **kwargs)

    def _preempt_request(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super()._preempt_request(request, *args, **kwargs)
        connected = self._connected.get(request.request_id)
        if connected is None or connected.phase is Phase.REFUSED:
            return
        # Until the inject step overwrites it, the anchor's block holds plain KV under a private hash. The new salt
        # keeps the resumed request from finding it.
        self._tails.make_private(request, connected.anchor)
        self._release_slot(connected)
        connected.phase = Phase.PREFILL

    def _free_request(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        kv_transfer_params, ec_transfer_params = super()._free_request(request, *args, **kwargs)
        connected = self._connected.pop(request.request_id, None)
        if connected is not None:
            self._release_slot(connected)
            # vLLM offers a scheduler no other way into a request's last output.
            kv_transfer_params = connected.report_beside(kv_transfer_params)
        return kv_transfer_params, ec_transfer_params

    def _release_slot(self, connected: ConnectedRequest) -> None:
        if connected.slot is not None:
            self._free_slots.append(connected.slot)
            connected.slot = None


class ConnectedScheduler(ConnectionSchedulerMixin, Scheduler):
    """vLLM's scheduler with connections."""


class ConnectedAsyncScheduler(ConnectionSchedulerMixin, AsyncScheduler):
    """vLLM's async scheduler with connections."""


def make_scheduler(vllm_config: VllmConfig, **kwargs: Any) -> Scheduler:
    """Build the sync or the async scheduler, whichever ``SchedulerConfig.get_scheduler_cls`` would choose.

    vLLM calls this function like the class that ``scheduler_cls`` usually names.
    """
    scheduler = ConnectedAsyncScheduler if vllm_config.scheduler_config.async_scheduling else ConnectedScheduler
    return scheduler(vllm_config=vllm_config, **kwargs)
