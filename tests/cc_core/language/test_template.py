"""A chat template's own marks tell the user's turns."""

from __future__ import annotations

from typing import Any

import jinja2
import pytest

from cc_core.language.template import ChatFrame

TEMPLATES = {
    "llama 3": "<|begin_of_text|>{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content }}<|eot_id|>{% endfor %}<|start_header_id|>assistant<|end_header_id|>\n\n",
    "vicuna": "Be kind. {% for m in messages %}{% if m.role == 'user' %}USER: {{ m.content }} {% else %}"
    "ASSISTANT: {{ m.content }}</s>{% endif %}{% endfor %}ASSISTANT:",
    "chatml with a system prompt": "<|im_start|>system\nBe kind.<|im_end|>\n"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n",
    "thinking": "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n<think>\n\n</think>\n\n",
    "gemma": "<bos>{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else 'user' }}\n"
    "{{ m.content | trim }}<end_of_turn>\n{% endfor %}<start_of_turn>model\n",
    "mistral": "<s>{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %}"
    " {{ m.content }}</s>{% endif %}{% endfor %}",
    "alpaca": "Below is an instruction.\n\n{% for m in messages %}{% if m.role == 'user' %}### Instruction:\n"
    "{{ m.content }}\n\n### Response:\n{% else %}{{ m.content }}\n\n{% endif %}{% endfor %}",
    "words of no known form": "{% for m in messages %}@{{ 'Mtu' if m.role == 'user' else 'Mjibu' }} » "
    "{{ m.content }} ¶ {% endfor %}@Mjibu »",
}


def render(template: str, messages: list[dict[str, Any]]) -> str:
    return jinja2.Environment().from_string(template).render(messages=messages)


def chat(*texts: str) -> list[dict[str, Any]]:
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_turns_are_found(template: str) -> None:
    frame = ChatFrame.of(lambda messages: render(template, messages))
    assert frame is not None
    assert frame.user_turns(render(template, chat("Habari?"))) == ["Habari?"]
    text = render(template, chat("Habari?\nJe?", "Nzuri.", "Wo ist das?"))
    assert frame.user_turns(text) == ["Wo ist das?", "Habari?\nJe?"]


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        ("chatml with a system prompt", "<|im_start|>user\nHabari?<|im_end|>\n<|im_start|>assistant\n"),
        ("gemma", "<start_of_turn>user\nHabari?<end_of_turn>\n<start_of_turn>model\n"),
        ("mistral", "[INST] Habari? [/INST]"),
        ("llama 3", "<|start_header_id|>user<|end_header_id|>\n\nHabari?<|eot_id|>"
         "<|start_header_id|>assistant<|end_header_id|>\n\n"),
    ],
)  # fmt: skip
def test_a_prompt_without_its_beginning_is_known(template: str, prompt: str) -> None:
    frame = ChatFrame.of(lambda messages: render(TEMPLATES[template], messages))
    assert frame is not None
    assert frame.user_turns(prompt) == ["Habari?"]


@pytest.mark.parametrize("text", ["", "Habari?", "user: Habari?", "<|im_end|>"])
def test_other_text_has_no_turns(text: str) -> None:
    frame = ChatFrame.of(lambda messages: render(TEMPLATES["chatml with a system prompt"], messages))
    assert frame is not None
    assert frame.user_turns(text) is None


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{{ m.content }}{% endfor %}",
        "{% for m in messages %}<{{ m.role }}>{{ m.content | upper | replace('FIRST', '') }}{% endfor %}",
        "<user>{{ messages[-1].content }}<model>",
    ],
    ids=["no marks", "altered text", "the last turn alone"],
)
def test_a_template_that_marks_no_turns_has_no_frame(template: str) -> None:
    assert ChatFrame.of(lambda messages: render(template, messages)) is None
