"""Answers from a checkpoint in this process, by the two passes of `cc_train.model.reference`, in batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedModel

from cc_core.architectures import UnsupportedArchitectureError
from cc_core.checkpoint import CheckpointError, ConnectionConfig, PlainModelError, load_connection
from cc_core.connection import Connection
from cc_core.names import AUTO, CONFIG_FILE, ENGLISH, OFF, matrix_for
from cc_core.terminal.text import one_line
from cc_train.config.tuning import ADAPTER_DIRECTORY
from cc_train.data.chat import ChatEncoder, ChatError, stop_ids
from cc_train.data.template_options import TemplateOptionError
from cc_train.evaluation.answer_file import Answer
from cc_train.evaluation.backend import OnAnswer, OnRefusal
from cc_train.evaluation.generation import answer_text, forward, greedy, pad_left
from cc_train.evaluation.items import EvaluationError, EvaluationRow
from cc_train.model.activations import Capture, anchor_positions, capture_at, connected_at
from cc_train.model.files import load_model

TRUE_ENGLISH = "english"


@dataclass(frozen=True, slots=True)
class _Prompt:
    row: EvaluationRow
    ids: list[int]
    english: list[int]
    connection: str


class LocalCheckpoint:
    """A checkpoint with a connection, or a plain model, in this process.

    Args:
        directory: the checkpoint.
        connection: ``auto`` connects a row by its ``lang``, as the server does by the language that it detects, unless
            the checkpoint's evidence shows that this harms; ``off`` connects none; a name that the checkpoint has
            connects every row; ``english`` gives every row that is not English the true activations of its English
            parallel, which no Transform Matrix can beat.
        max_tokens: most tokens of an answer.
        batch_size: rows at once.
        dtype: the weights' type; the connection computes in fp32.
        template: options of the chat template.
        option: of the command line, which names the checkpoint; for messages.

    Raises:
        EvaluationError: the checkpoint has no such connection.
        TemplateOptionError: the chat template has no such option.
        cc_core.checkpoint.CheckpointError: the checkpoint is damaged.
    """

    def __init__(
        self,
        directory: Path,
        connection: str,
        max_tokens: int,
        batch_size: int,
        dtype: torch.dtype = torch.float32,
        *,
        template: Mapping[str, Any] | None = None,
        option: str = "--checkpoint",
    ) -> None:
        if not (directory / CONFIG_FILE).is_file():
            raise EvaluationError(f"{option} {directory}: no {CONFIG_FILE} there; name a checkpoint's directory")
        self.directory = directory
        self.max_tokens = max_tokens
        self.batch_size = batch_size
        self.setting = connection
        self._connection, self._config = _load_connection(directory)
        self._check(connection)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            model: Any = load_model(directory, dtype, "eager")
            tokenizer = AutoTokenizer.from_pretrained(directory)
            self.encoder = ChatEncoder(tokenizer, model.generation_config, template)
        except TemplateOptionError:
            raise
        except (ChatError, CheckpointError, UnsupportedArchitectureError) as error:
            raise EvaluationError(f"{option} {directory}: {one_line(error)}") from error
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise EvaluationError(
                f"{option} {directory}: cannot be loaded ({one_line(error)}); copy it again"
            ) from error
        self.model: PreTrainedModel = model.to(device).eval()
        if self._connection is not None:
            self._connection = self._connection.to(device)
        self.stops = stop_ids(tokenizer, model.generation_config)
        longest = getattr(model.config, "max_position_embeddings", None)
        self._prompt_limit = (longest or 2**31) - max_tokens

    def system(self) -> dict[str, Any]:
        """What the answers depend on, with a digest of the weights."""
        weights = hashlib.sha256()
        adapter = self.directory / ADAPTER_DIRECTORY
        for path in [*sorted(self.directory.glob("*.safetensors")), *sorted(adapter.glob("*.safetensors"))]:
            with path.open("rb") as file:
                weights.update(hashlib.file_digest(file, "sha256").digest())
        return {
            "backend": "in process",
            "model": self.directory.name,
            "connection": self.setting,
            "max_tokens": self.max_tokens,
            "checkpoint": weights.hexdigest(),
            "dtype": str(self.model.dtype).removeprefix("torch."),
        }

    def answer(
        self,
        rows: Iterable[EvaluationRow],
        on_answer: OnAnswer,
        on_refusal: OnRefusal,
    ) -> None:
        """Answer every row, in batches of similar lengths.

        Args:
            rows: the rows to answer.
            on_answer: called with each answer, after its batch.
            on_refusal: called with each row that this checkpoint cannot answer, and the reason.
        """
        prompts = []
        for row in rows:
            prompt = self._encode(row)
            if isinstance(prompt, str):
                on_refusal(row, prompt)
            else:
                prompts.append(prompt)
        prompts.sort(key=lambda p: (p.connection, -len(p.ids)))
        for start in range(0, len(prompts), self.batch_size):
            batch = prompts[start : start + self.batch_size]
            for prompt, generated in zip(batch, self._generate(batch), strict=True):
                text, finish = answer_text(self.encoder.tokenizer, generated, self.stops)
                row = prompt.row
                on_answer(Answer(row.key, row.digest, text, finish, len(prompt.ids), len(generated), prompt.connection))

    def refusal(self, row: EvaluationRow) -> str | None:
        """Why ``row`` cannot be answered; None if it can."""
        prompt = self._encode(row)
        return prompt if isinstance(prompt, str) else None

    def _check(self, connection: str) -> None:
        if connection in (AUTO, OFF):
            return
        if self._connection is None:
            raise EvaluationError(f"--connection {connection}: {self.directory} is a plain model; it has: auto, off")
        names = [AUTO, OFF, TRUE_ENGLISH, *self._connection.names]
        if connection not in names:
            raise EvaluationError(f"--connection {connection}: {self.directory} has: {', '.join(names)}")

    def _connection_for(self, row: EvaluationRow) -> str:
        if self._connection is None or self._config is None:
            return OFF
        if self.setting == TRUE_ENGLISH:
            return OFF if row.lang == ENGLISH else TRUE_ENGLISH
        if self.setting != AUTO:
            return self.setting
        evidence = self._config.evidence
        gain = evidence.languages.get(row.lang) if evidence else None
        if row.lang not in {*self._config.languages, *self._connection.names} or (gain and gain.harms):
            return OFF
        return matrix_for(row.lang, self._connection.names)

    def _encode(self, row: EvaluationRow) -> _Prompt | str:
        connection = self._connection_for(row)
        encoded = [self.encoder.encode(self.encoder.render(row.prompt)), []]
        if connection == TRUE_ENGLISH:
            if not row.english:
                return "no 'instruction_en' to take English activations from"
            encoded[1] = self.encoder.encode(self.encoder.render(row.english))
        longest = max(map(len, encoded))
        if longest > self._prompt_limit:
            return (
                f"a prompt of {longest} tokens and an answer of {self.max_tokens} are longer than the model's context"
            )
        return _Prompt(row, encoded[0], encoded[1], connection)

    @torch.inference_mode()
    def _generate(self, batch: Sequence[_Prompt]) -> list[list[int]]:
        """The greedy answer to each prompt, with the token that ends it. Prompts are padded on the left."""
        ids, mask = self._pad([prompt.ids for prompt in batch])
        names = [prompt.connection for prompt in batch]
        connected = [index for index, name in enumerate(names) if name != OFF]
        first = None
        if self._connection is not None and connected:
            vector = torch.zeros(len(batch), self._connection.hidden_size, device=ids.device)
            vector[connected] = self._vectors([batch[i] for i in connected], ids[connected], mask[connected])
            first = connected_at(self.model, anchor_positions(mask, self._connection.anchor_offset), vector)
        return greedy(self.model, ids, mask, self.stops, self.max_tokens, first)

    def _vectors(self, batch: Sequence[_Prompt], ids: Tensor, mask: Tensor) -> Tensor:
        """What the connection adds for each prompt, ``[B, H]``."""
        assert self._connection is not None
        own = self._capture(ids, mask)
        if batch[0].connection != TRUE_ENGLISH:
            names = [prompt.connection for prompt in batch]
            return self._connection.decide_each(names, own.activations, own.embedding).vector
        english = self._capture(*self._pad([prompt.english for prompt in batch]))
        untransformed = Connection(
            self._connection.decision, {TRUE_ENGLISH: torch.eye(self._connection.hidden_size, device=ids.device)}
        )
        return untransformed.decide(TRUE_ENGLISH, english.activations, own.embedding).vector

    def _capture(self, ids: Tensor, mask: Tensor) -> Capture:
        assert self._connection is not None
        with capture_at(self.model, anchor_positions(mask, self._connection.anchor_offset)) as capture:
            forward(self.model, ids, mask, use_cache=False)
        return capture

    def _pad(self, sequences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        return pad_left(sequences, self.encoder.pad_id, self.model.device)


def _load_connection(directory: Path) -> tuple[Connection | None, ConnectionConfig | None]:
    try:
        return load_connection(directory)
    except PlainModelError:
        return None, None
