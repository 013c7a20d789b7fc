"""The questions of load tests: those of the packaged sample, in mixes of languages and lengths."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import cc_train

_SAMPLE: Final = Path(cc_train.__file__).parent / "data" / "sample.jsonl"


@dataclass(frozen=True)
class Question:
    """One row of the sample."""

    language: str
    text: str
    answer: str


def packaged_questions() -> dict[str, list[Question]]:
    """The questions by language."""
    questions: dict[str, list[Question]] = {}
    for line in _SAMPLE.read_text("utf-8").splitlines():
        row = json.loads(line)
        question = Question(row["lang"], row["instruction"], row["output"])
        questions.setdefault(question.language, []).append(question)
    return questions


class Mix:
    """Values that are drawn as often as their weights say.

    Raises:
        ValueError: there is no value, or a weight is negative, or all are zero.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        if not weights or any(weight < 0 for weight in weights.values()) or not any(weights.values()):
            raise ValueError("a mix needs values, with weights that are not negative and not all zero")
        self.weights = dict(weights)

    @classmethod
    def parse(cls, text: str) -> Self:
        """A mix as written on the command line: ``VALUE:WEIGHT,VALUE:WEIGHT``. A value without a weight has weight 1.

        Raises:
            ValueError: the text is not of that form.
        """
        weights = {}
        for part in text.split(","):
            value, _, weight = part.strip().partition(":")
            try:
                weights[value] = float(weight or 1)
            except ValueError:
                raise ValueError(f"{part!r} is not VALUE:WEIGHT, such as 16:3") from None
        return cls(weights)

    @classmethod
    def of_numbers(cls, text: str) -> Self:
        """A mix whose values are whole numbers.

        Raises:
            ValueError: one is not.
        """
        mix = cls.parse(text)
        for value in mix.weights:
            if not value.isdecimal():
                raise ValueError(f"{value!r} in {text!r} is not a whole number")
        return mix

    def draw(self, chance: random.Random) -> str:
        """One of the values."""
        return chance.choices(list(self.weights), list(self.weights.values()))[0]


@dataclass(frozen=True)
class Traffic:
    """What users ask.

    Args:
        languages: the languages of conversations.
        examples: how many answered questions stand before a conversation's own. All conversations of a language have
            the same ones, like the examples of a real prompt, so that the server can share them.
        turns: how many questions a conversation has. Each request repeats what was said before.
        output_tokens: length of an answer in tokens.
        connection: ``cc_connection`` of every request.
    """

    languages: Mix
    examples: Mix = field(default_factory=lambda: Mix({"0": 1}))
    turns: Mix = field(default_factory=lambda: Mix({"1": 1}))
    output_tokens: Mix = field(default_factory=lambda: Mix({"32": 1}))
    connection: str = "auto"

    def conversation(self, questions: Mapping[str, list[Question]], model: str, chance: random.Random) -> Conversation:
        """A new conversation.

        Raises:
            ValueError: there are no questions in its language.
        """
        language = self.languages.draw(chance)
        if language not in questions:
            raise ValueError(f"the sample has no questions in {language!r}; it has {', '.join(sorted(questions))}")
        own = questions[language]
        examples = own[: int(self.examples.draw(chance))]
        asked = chance.choices(own[len(examples) :] or own, k=int(self.turns.draw(chance)))
        return Conversation(self, model, language, examples, asked, chance)


class Conversation:
    """The requests of one conversation. Before the next request, `answered` takes the answer to the one before."""

    def __init__(
        self,
        traffic: Traffic,
        model: str,
        language: str,
        examples: list[Question],
        asked: list[Question],
        chance: random.Random,
    ) -> None:
        self.language = language
        self._traffic = traffic
        self._model = model
        self._chance = chance
        self._ahead = asked[::-1]
        self._messages: list[dict[str, str]] = []
        for example in examples:
            self._say(example.text)
            self.answered(example.answer)

    def next_request(self) -> dict[str, Any] | None:
        """The body of the next request; None when the conversation is over."""
        if not self._ahead:
            return None
        self._say(self._ahead.pop().text)
        return {
            "model": self._model,
            "messages": list(self._messages),
            "max_tokens": int(self._traffic.output_tokens.draw(self._chance)),
            # Answers are as long as the mix says, whatever the model makes of the question.
            "ignore_eos": True,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
            "cc_connection": self._traffic.connection,
        }

    def answered(self, text: str) -> None:
        """Take the answer to the last request."""
        self._messages.append({"role": "assistant", "content": text})

    def _say(self, text: str) -> None:
        self._messages.append({"role": "user", "content": text})
