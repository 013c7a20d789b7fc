"""The capture step's own token, as a draft after the connected anchor: if it is confirmed, it saves a step.

The anchor's token is sampled as without the draft. If it turns out to be the draft, the logits of the draft's row are
those of the next token, and a second token is sampled from them. So a draft never changes an answer: not a greedy one,
not the distribution of a sampled one, and not the draws of a seeded one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from torch import Tensor
from vllm.sampling_params import SamplingParams
from vllm.v1.outputs import LogprobsTensors, ModelRunnerOutput, SamplerOutput
from vllm.v1.request import Request
from vllm.v1.sample.logits_processor import LogitsProcessors
from vllm.v1.sample.metadata import SamplingMetadata
from vllm.v1.sample.sampler import Sampler
from vllm.v1.spec_decode.metadata import SpecDecodeMetadata

_ATTRIBUTE: Final = "connection_drafts"

# The parameters that may differ from vLLM's defaults. With any other, the second token may depend on the first in more
# ways than through the model.
_HARMLESS: Final = frozenset(
    (
        "n",
        "temperature",
        "top_p",
        "top_k",
        "seed",
        "stop",
        "stop_token_ids",
        "ignore_eos",
        "max_tokens",
        "detokenize",
        "skip_special_tokens",
        "spaces_between_special_tokens",
        "include_stop_str_in_output",
        "output_kind",
        "stream_interval",
        "skip_clone",
        "output_text_buffer_length",
        "skip_reading_prefix_cache",
        "extra_args",
        "logprobs",
        "flat_logprobs",
        "_eos_token_id",
        "_all_stop_token_ids",
        "watermarking",  # V2 alone has it
        "_watermarking_skipped",
    )
)
_DEFAULTS: Final = {
    name: getattr(SamplingParams(), name) for name in SamplingParams.__struct_fields__ if name not in _HARMLESS
}


def may_draft(request: Request) -> bool:
    """Whether a draft can save the request a step, and its parameters allow one."""
    parameters = request.sampling_params
    return (
        parameters is not None
        and request.num_output_tokens + 2 <= request.max_tokens
        and all(getattr(parameters, name) == default for name, default in _DEFAULTS.items())
    )


@dataclass(frozen=True)
class Drafts:
    """The first token of the plain model, by the logits of a capture step.

    Args:
        request_ids: the B requests.
        tokens: ``[B]``, the likeliest token of each: of all drafts that are not sampled, it is confirmed most often.
    """

    request_ids: list[str]
    tokens: Tensor

    def attach_to(self, output: ModelRunnerOutput) -> ModelRunnerOutput:
        """Store them on the step's ``output``."""
        setattr(output, _ATTRIBUTE, dict(zip(self.request_ids, self.tokens.tolist(), strict=True)))
        return output


def drafts_of(output: ModelRunnerOutput) -> dict[str, int]:
    """The drafts that travel with ``output``, by request id."""
    return getattr(output, _ATTRIBUTE, {})


def sample_with_drafts(
    sampler: Sampler,
    sample: Callable[[Tensor], SamplerOutput],
    logits: Tensor,
    drafted: SpecDecodeMetadata,
    sampling: SamplingMetadata,
) -> SamplerOutput:
    """Sample each request's next token, and a second one where the first is the request's draft.

    Args:
        sampler: vLLM's sampler.
        sample: samples the whole batch as vLLM does, from one row of logits for each request.
        logits: one row for each request, followed by a second one where the request has a draft.
        drafted: which requests have a draft, and which rows are theirs.
        sampling: the batch's metadata.

    Returns:
        The tokens, ``[B, 2]``; the second one is -1 where there is none.
    """
    places = [place for place, drafts in enumerate(drafted.num_draft_tokens) if drafts]
    behind = logits[drafted.bonus_logits_indices[places]]  # a copy, since the sampler works in place
    first_rows = drafted.bonus_logits_indices.clone()
    first_rows[places] -= 1
    first = sample(logits[first_rows])
    confirmed = first.sampled_token_ids[places, 0] == drafted.draft_token_ids
    rows = confirmed.nonzero()[:, 0]
    accepted = [places[row] for row in rows.tolist()]
    tokens = first.sampled_token_ids.new_full((len(drafted.num_draft_tokens), 2), -1)
    tokens[:, :1] = first.sampled_token_ids
    scores = first.logprobs_tensors and _for_two(first.logprobs_tensors)
    if accepted:
        second = sampler(logits=behind[rows], sampling_metadata=_of_few(sampling, accepted))
        tokens[accepted, 1:] = second.sampled_token_ids
        if scores and not sampling.logprob_token_ids:  # with these, vLLM scores nothing else in the whole batch
            assert second.logprobs_tensors is not None
            for all_scores, added in zip(scores[:3], second.logprobs_tensors[:3], strict=True):
                all_scores[[2 * place + 1 for place in accepted]] = added
    return replace(first, sampled_token_ids=tokens, logprobs_tensors=scores)


def _for_two(scores: LogprobsTensors) -> LogprobsTensors:
    """The scores with two rows for each request, since vLLM expects a row for each place of a token."""
    return LogprobsTensors(
        scores.logprob_token_ids.repeat_interleave(2, 0),
        scores.logprobs.repeat_interleave(2, 0),
        scores.selected_token_ranks.repeat_interleave(2, 0),
    )


def _of_few(sampling: SamplingMetadata, places: list[int]) -> SamplingMetadata:
    """The batch's metadata for some of its requests, all of which `may_draft`."""

    def few(values: Tensor | None) -> Tensor | None:
        return None if values is None else values[places]

    generators = sampling.generators
    return SamplingMetadata(
        temperature=few(sampling.temperature),
        all_greedy=sampling.all_greedy,
        all_random=sampling.all_random,
        top_p=few(sampling.top_p),
        top_k=few(sampling.top_k),
        generators={index: generators[place] for index, place in enumerate(places) if place in generators},
        max_num_logprobs=sampling.max_num_logprobs,
        no_penalties=True,
        prompt_token_ids=None,
        frequency_penalties=sampling.frequency_penalties[places],
        presence_penalties=sampling.presence_penalties[places],
        repetition_penalties=sampling.repetition_penalties[places],
        output_token_ids=[],
        allowed_token_ids_mask=None,
        bad_words_token_ids={},
        logitsprocs=LogitsProcessors(),
    )
