"""The user's turns of rendered chats, of many models."""

from __future__ import annotations

import pytest

from cc_core.language.turns import user_turns


@pytest.mark.parametrize(
    ("text", "turns"),
    [
        ("plain text", None),
        ("a < b and [1] | c", None),
        ("<s>text", ["text"]),
        ("<|endoftext|>text", ["text"]),
        (
            "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n<|im_start|>user\nc<|im_end|>",
            ["c", "a"],
        ),
        ("<|im_start|>system\ns<|im_end|><|im_start|>user\nopen", ["open"]),
        (
            "<|start_header_id|>system<|end_header_id|>\n\ns<|eot_id|><|start_header_id|>user<|end_header_id|>\n\na",
            ["a"],
        ),
        ("<s>[INST] <<SYS>>\ns\n<</SYS>>\n\na [/INST] b </s><s>[INST] c [/INST]", ["c", "a"]),
        ("[SYSTEM_PROMPT]s[/SYSTEM_PROMPT][INST]a[/INST]", ["a"]),
        ("<start_of_turn>user\na<end_of_turn>\n<start_of_turn>model\n", ["a"]),
        ("<|turn>user\na<turn|>\n<|turn>model\n", ["a"]),
        ("<\uff5cUser\uff5c>a<\uff5cAssistant\uff5c>", ["a"]),
        ("<|START_OF_TURN_TOKEN|><|USER_TOKEN|>a<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>", ["a"]),
        ("<|start|>system<|message|>s<|end|><|start|>user<|message|>a<|end|><|start|>assistant", ["a"]),
        ("<|im_user|>user<|im_middle|>a<|im_end|><|im_assistant|>assistant<|im_middle|>", ["a"]),
        ("[|system|]s[|endofturn|]\n[|user|]a\n[|assistant|]", ["a"]),
        ("<extra_id_0>System\n\n<extra_id_1>User\na\n<extra_id_1>Assistant\n", ["a"]),
        ("<|user|>\na<|image|>b<|end|>", ["a\nb"]),
    ],
)
def test_the_users_turns_are_found(text: str, turns: list[str] | None) -> None:
    assert user_turns(text) == turns


def test_a_long_system_prompt_and_a_long_turn_are_bounded() -> None:
    turns = user_turns("<|im_start|>user\n" + "a " * 50_000 + "<|im_end|>")
    assert turns is not None
    assert len(turns[0]) < 20_000
