"""Options become a template's defaults, for whatever renders it."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from cc_serve.api.raw_prompts import RawPrompts
from cc_train.data.chat import ChatEncoder
from cc_train.data.template_options import TemplateOptionError, options_of, with_options
from tests.support.tiny_tokenizer import tiny_tokenizer

# As Qwen 3 has it: with no option, and with true, the model may think.
THINKING = (
    "\n{% for m in messages %}{{ '<user>' if m.role == 'user' else '<model>' }}{{ m.content + '<end>' }}{% endfor %}"
    "{% if add_generation_prompt %}<model>{% if enable_thinking is defined and enable_thinking is false %}"
    "<think></think>{% endif %}{{ note }}{% endif %}"
)
ASKED = [{"role": "user", "content": "hi"}]
QUIET = "\n<user>hi<end><model><think></think>"


def render(tokenizer: object, **options: object) -> str:
    return tokenizer.apply_chat_template(ASKED, tokenize=False, add_generation_prompt=True, **options)


def test_the_saved_template_renders_as_training_did_and_a_request_may_override_it(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(template=THINKING)
    encoder = ChatEncoder(tokenizer, None, {"enable_thinking": False})
    assert encoder.render("hi") == QUIET
    tokenizer.save_pretrained(tmp_path)
    served = AutoTokenizer.from_pretrained(tmp_path)
    assert render(served) == QUIET
    assert render(served, enable_thinking=True) == QUIET.removesuffix("<think></think>")
    engine = type("Engine", (), {"tokenizer": served})()
    prompts = RawPrompts(engine)
    assert prompts.ends_as_ever({"enable_thinking": False})
    assert not prompts.ends_as_ever({"enable_thinking": True})


def test_options_are_what_vllm_hands_on() -> None:
    resolve = pytest.importorskip("vllm.renderers.hf").resolve_chat_template_kwargs
    template = with_options(THINKING, {"enable_thinking": False, "note": "é\"'\n"})
    tokenizer = tiny_tokenizer(template=template)
    given = resolve(tokenizer, template, {"enable_thinking": True, "unknown": 1}, raise_on_unexpected=False)
    assert given == {"enable_thinking": True}
    assert render(tokenizer).endswith("<think></think>é\"'\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"enable_thinkin": False}, "reads no option 'enable_thinkin'; it reads: enable_thinking, note"),
        ({"messages": "x"}, "reads no option 'messages'"),
        ({"note": [1]}, "option 'note' is none of"),
    ],
)
def test_what_is_no_option_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(TemplateOptionError, match=message):
        with_options(THINKING, options)


def test_transformers_own_block_does_not_hide_the_options() -> None:
    assert options_of("{% generation %}{{ a }}{%- endgeneration -%}{{ bos_token }}") == {"a"}
    assert options_of("{% if %}") == set()
