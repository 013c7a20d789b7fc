"""The routing policy: its defaults, its validation alone and against a checkpoint."""

from __future__ import annotations

import pytest
import yaml
from pydantic import ValidationError

from cc_serve.routing.policy import PolicyError, RoutingPolicy


def test_replaced_changes_only_what_it_names() -> None:
    policy = RoutingPolicy(threshold=0.7, connections={"de": "off"})
    other = policy.replaced(default="global")
    assert other.model_dump() == {**policy.model_dump(), "default": "global"}
    assert policy.default == "off"


def test_a_bare_off_in_yaml_is_off() -> None:
    policy = RoutingPolicy.model_validate(yaml.safe_load("{default: off, connections: {de: off, fr: global}}"))
    assert (policy.default, policy.connections) == ("off", {"de": "off", "fr": "global"})


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"threshold": 1.1}, ("threshold",)),
        ({"threshold": float("nan")}, ("threshold",)),
        ({"languages": []}, ("languages",)),
        ({"languages": "de"}, ("languages",)),
        ({"languages": ["de", 1]}, ("languages", 1)),
        ({"connections": {"de": True}}, ("connections", "de")),
        ({"default": None}, ("default",)),
        *(
            ({"holdout": value}, ("holdout",))
            for value in (-0.01, 1.01, float("nan"), float("inf"), True, "5%", "0.05")
        ),
        ({"holdout": None}, ("holdout",)),
        ({"tresholds": 0.5}, ("tresholds",)),
    ],
)
def test_a_bad_value_is_refused_by_its_field(fields: dict[str, object], place: tuple[object, ...]) -> None:
    for make in (RoutingPolicy.model_validate, lambda fields: RoutingPolicy().replaced(**fields)):
        with pytest.raises(ValidationError) as refusal:
            make(fields)
        assert [error["loc"] for error in refusal.value.errors()] == [place]


def test_a_policy_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        RoutingPolicy().threshold = 0.1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"languages": ["de", "xx"]}, "languages.1: 'xx' is no language here; there are: de, en, fr"),
        ({"connections": {"xx": "off"}}, "connections.xx: 'xx' is no served language here; there are: de, en, fr"),
        (
            {"languages": ["de"], "connections": {"fr": "off"}},
            "connections.fr: 'fr' is no served language here; there are: de, en",
        ),
        ({"connections": {"fr": "fr"}}, "connections.fr: 'fr' is no connection here; there are: global, off"),
        ({"connections": {"fr": "de"}}, "connections.fr: 'de' is no connection here; there are: global, off"),
        ({"default": "auto"}, "default: 'auto' is no connection here; there are: de, global, off"),
    ],
)
def test_what_the_checkpoint_lacks_is_refused_by_its_field(fields: dict[str, object], message: str) -> None:
    with pytest.raises(PolicyError) as refusal:
        RoutingPolicy.model_validate(fields).check(["global", "de"], ["de", "fr"])
    assert str(refusal.value) == message
    assert message.startswith(f"{refusal.value.field}: ")


def test_what_the_checkpoint_has_is_accepted() -> None:
    policy = RoutingPolicy(languages=("de", "fr"), connections={"de": "de", "fr": "off", "en": "global"}, default="de")
    policy.check(["global", "de"], ["de", "fr"])
