"""The configuration file: what it may say, and how a mistake in it is told."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from cc_serve.config.configuration import Configuration, ConfigurationError, KeyLimits, Limits, load_configuration
from tests.support.paths import ROOT

A, B = "a" * 64, "b" * 64
Load = Callable[[str], Configuration]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(text: str) -> Configuration:
        path = tmp_path / "server.yaml"
        path.write_text(text, "utf-8")
        return load_configuration(path)

    return load


@pytest.mark.parametrize("text", ["", "# nothing", "{}", "limits: {}"])
def test_an_empty_file_is_the_defaults(load: Load, text: str) -> None:
    assert load(text) == Configuration()


def test_what_would_have_no_bound_has_one_by_default() -> None:
    limits = Configuration().limits
    assert None not in (limits.concurrent_requests, limits.body_bytes, limits.choices, limits.sequences)
    assert Configuration().limits_of(None).requests_per_minute is None


def test_a_key_overrides_what_it_names_and_no_more(load: Load) -> None:
    configuration = load(f"""
        limits: {{per_key: {{requests_per_minute: 60, tokens_per_minute: 1000}}}}
        routing: {{threshold: 0.7, languages: [de, fr]}}
        keys:
          alice: {{sha256: {A}, limits: {{requests_per_minute: null}}, routing: {{threshold: 0.9}}}}
          bob: {{sha256: {B}}}
    """)
    alice, bob = configuration.limits_of("alice"), configuration.limits_of("bob")
    assert (alice.requests_per_minute, alice.tokens_per_minute) == (None, 1000)
    assert bob == configuration.limits_of(None) == configuration.limits.per_key
    assert configuration.routing_of("alice") == configuration.routing.replaced(threshold=0.9)
    assert configuration.routing_of("bob") == configuration.routing_of(None) == configuration.routing


def test_a_keys_budget_overrides_what_it_names(load: Load) -> None:
    configuration = load(f"""
        limits: {{per_key: {{budget: {{tokens_per_day: 5, requests_per_day: 6}}}}}}
        usage: {{file: usage.sqlite}}
        keys: {{alice: {{sha256: {A}, limits: {{budget: {{tokens_per_day: 7}}}}}}, bob: {{sha256: {B}}}}}
    """)
    budgets = [configuration.limits_of(name).budget for name in ("alice", "bob")]
    assert [(budget.tokens_per_day, budget.requests_per_day) for budget in budgets] == [(7, 6), (5, 6)]


def test_it_never_changes(load: Load) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load("").limits.body_bytes = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("limits: {body_byte: 3}", "limits.body_byte: unknown field; did you mean body_bytes?"),
        ("limit: {}", "limit: unknown field; did you mean limits?"),
        ("zzz: 1", "zzz: unknown field; there are: routing, keys, open_paths, limits, metrics, usage"),
        (
            "limits: {per_key: {tokens_per_minut: 1}}",
            "limits.per_key.tokens_per_minut: unknown field; did you mean tokens_per_minute?",
        ),
        (f"keys: {{alice: {{sha256: {A}, adnim: 1}}}}", "keys.alice.adnim: unknown field; did you mean admin?"),
        (f"keys: {{a: {{sha256: {A}, routing: {{treshold: 1}}}}}}", "keys.a.routing.treshold: unknown field"),
        ("routing: {connections: {no: off}}", 'routing.connections: a name must be text; quote it ("no")'),
        (f"keys: {{7: {{sha256: {A}}}}}", "keys: a name must be text; quote it"),
        ("limits: {choices: 0}", "limits.choices: should be greater than 0"),
        (
            "limits: {per_key: {budget: {tokens_per_day: -1}}}",
            "limits.per_key.budget.tokens_per_day: should be greater",
        ),
        ("limits: {per_key: {budget: {token_per_day: 1}}}", "unknown field; did you mean tokens_per_day?"),
        ("limits: {per_key: {budget: {tokens_per_day: 1}}}", "limits.per_key.budget: needs `usage.file` or"),
        (f"keys: {{a: {{sha256: {A}, limits: {{budget: {{tokens_per_day: 1}}}}}}}}", "keys.a.limits.budget: needs"),
        ("{limits: {store: redis://localhost}, usage: {file: u}}", "usage.file: `limits.store` keeps"),
        ("usage: {keep_days: 0}", "usage.keep_days: should be greater than 0"),
        ("limits: {deadline_seconds: .inf}", "limits.deadline_seconds: should be a finite number"),
        ("routing: {threshold: 2}", "routing.threshold: should be less than or equal to 1"),
        *(
            (text.replace("SHARE", share), f"{place}: should be a number from 0 to 1, such as 0.05 (found ")
            for text, place in (
                ("routing: {holdout: SHARE}", "routing.holdout"),
                (f"keys: {{a: {{sha256: {'0' * 64}, routing: {{holdout: SHARE}}}}}}", "keys.a.routing.holdout"),
                ("metrics: {answer_languages: SHARE}", "metrics.answer_languages"),
            )
            for share in (
                "1e-3",
                "5e-2",
                "5%",
                "'0.05'",
                "half",
                "true",
                "-0.1",
                "1.1",
                "5",
                ".nan",
                ".inf",
                "[0.1]",
                "",
            )
        ),
        ("routing: {strengths: [0, 3]}", "routing.strengths.1: should be less than or equal to 2"),
        ("routing: {strengths: [-1, 1]}", "routing.strengths.0: should be greater than or equal to 0"),
        ("routing: {strengths: [0, 0.5]}", "routing.strengths: should be a lowest and a highest strength, with 1"),
        (f"keys: {{a: {{sha256: {A}, routing: {{strengths: [1.5, 2]}}}}}}", "keys.a.routing.strengths: should be"),
        (f"keys: {{a: {{sha256: {A}, weight: 0}}}}", "keys.a.weight: should be greater than or equal to 0.01"),
        ("open_paths: [metrics]", "open_paths.0: String should match pattern"),
        ("keys: {alice: {sha256: secret}}", "keys.alice.sha256: String should match pattern"),
        ("keys: {a b: {}}", "keys.a b.[key]: String should match pattern"),
        (f"keys: {{a: {{sha256: {A}}}, b: {{sha256: {A}}}}}", "'a' and 'b' are the same key"),
        ("limits: 3", "limits: should be a mapping of fields to values"),
        ("routing: holdout", "routing: should be a mapping of fields to values"),
        ("routing: {holdout: 0, 5: 1}", "routing: a name must be text; quote it"),
        ("1: {}", "the file: a name must be text; quote it"),
        ("routing: {connections: [de]}", "routing.connections: should be a mapping"),
        ("routing: {connections: {sw: on}}", 'routing.connections.sw: should be "off", "global" or a language\'s own'),
        ("routing: {default: 5}", 'routing.default: should be "off", "global" or a language\'s own (found 5)'),
        ("routing: {languages: de}", "routing.languages: should be a list, such as [a, b]"),
        ("routing: {languages: []}", "routing.languages: may not be empty"),
        ("limits: {}\nlimits: {}", "is not YAML ('limits' is there twice in \"<unicode string>\", line 2"),
        ("limits: {choices: 1, choices: 2}", "'choices' is there twice"),
        ("a: [b", "is not YAML ("),
        ("[" * 5000, "is not YAML ("),
        ("? [a]\n: 1", "is not YAML ("),
        ("- a", "is not a mapping of sections"),
        ("!!python/object/apply:os.getcwd []", "is not YAML ("),
    ],
)
def test_a_mistake_is_told_by_file_and_field(load: Load, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(text)
    assert str(caught.value).startswith(f"{tmp_path / 'server.yaml'}: ")
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_all_mistakes_are_told_but_not_endlessly(load: Load) -> None:
    with pytest.raises(ConfigurationError, match=r"x0: .*; x4: .*; and 5 more$"):
        load("\n".join(f"x{number}: 1" for number in range(10)))


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_an_unreadable_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "none.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"none\.yaml: (cannot be read \(No such file|is not YAML)"):
        load_configuration(path)


def test_serve_refuses_a_bad_file_before_loading_torch_or_vllm(tmp_path: Path) -> None:
    path = tmp_path / "server.yaml"
    path.write_text("limits: {body_byte: 3}")
    program = (
        "import sys; from cc_serve.commands.main import main; status = main(sys.argv[1:]);"
        "sys.exit(99 if {'vllm', 'torch'} & set(sys.modules) else status)"
    )
    command = [sys.executable, "-c", program, "serve", str(tmp_path), "--port", "1", "--cc-config", str(path)]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (
        2,
        f"cc-serve: {path}: limits.body_byte: unknown field; did you mean body_bytes?\n",
    )


def test_the_page_shows_a_file_that_is_valid_and_names_every_limit(load: Load) -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    configuration = load(page.split("```yaml\n")[1].split("```")[0])
    assert configuration.limits_of("alice").requests_per_minute == 600
    table = [line for line in page.splitlines() if line.startswith("| `")]
    names = [f"per_key.{name}" for name in KeyLimits.model_fields] + [n for n in Limits.model_fields if n != "per_key"]
    rows = {name: line for name in names for line in table if line.startswith(f"| `{name}`")}
    assert set(rows) == set(names)
    for name, field in Limits.model_fields.items():
        if isinstance(field.default, int | float) and name != "body_bytes":
            assert f"| {field.default:g} |" in rows[name]
