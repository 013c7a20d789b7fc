"""The files of Compose, Prometheus and Grafana. `deploy/check_dashboard.py` asks a real Prometheus."""

from __future__ import annotations

import json
import re
from pathlib import Path

import prometheus_client
import pytest
import yaml

import cc_serve.api.telemetry.metrics  # noqa: F401  registers its metrics
from cc_serve.config.configuration import load_configuration
from tests.deploy.programs import DEPLOY, output_of, program

RULES = DEPLOY / "prometheus/rules.yml"
DASHBOARD = json.loads((DEPLOY / "grafana/dashboards/cc-serve.json").read_text("utf-8"))
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
ALERTS = [
    rule["alert"]
    for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    for rule in group["rules"]
    if "alert" in rule
]


def test_prometheus_accepts_its_files() -> None:
    output_of(program("promtool"), "check", "config", DEPLOY / "prometheus/prometheus.yml")


def test_alerts_come_when_they_should() -> None:
    output_of(program("promtool"), "test", "rules", Path(__file__).with_name("rules_test.yml"))


def test_every_alert_has_a_test() -> None:
    tests = Path(__file__).with_name("rules_test.yml").read_text("utf-8")
    assert [alert for alert in ALERTS if f"alertname: {alert}\n" not in tests] == []


@pytest.mark.parametrize("text", [*EXPRESSIONS, RULES.read_text("utf-8")])
def test_our_metrics_are_called_so(text: str) -> None:
    known = {sample for family in prometheus_client.REGISTRY.collect() for sample in _samples(family)}
    named = set(re.findall(r"cc:\w+", text)) - set(re.findall(r"cc:\w+(?=:ratio)", text))
    assert named <= known


def _samples(family: prometheus_client.Metric) -> list[str]:
    suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}
    return [family.name + suffix for suffix in suffixes.get(family.type, [""])]


COMPOSE = ("compose.yaml", "compose.store.yaml")


@pytest.mark.parametrize("file", COMPOSE)
def test_compose_mounts_what_is_there(file: str) -> None:
    services = yaml.safe_load((DEPLOY / file).read_text("utf-8"))["services"]
    for service in services.values():
        for volume in service.get("volumes", []):
            if volume.startswith("."):
                assert (DEPLOY / volume.split(":")[0]).exists(), volume


def test_compose_is_valid() -> None:
    files = [argument for file in COMPOSE for argument in ("-f", DEPLOY / file)]
    output_of(program("docker-compose"), *files, "config", "--quiet")


def test_composes_store_is_the_configurations() -> None:
    services = yaml.safe_load((DEPLOY / "compose.store.yaml").read_text("utf-8"))["services"]
    store = load_configuration(DEPLOY / "store/server.yaml").limits.store
    assert store is not None
    assert store.host in services
    assert "/etc/cc-serve/server.yaml" in services["server"]["command"]
