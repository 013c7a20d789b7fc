"""The Helm chart, rendered for several sets of values, fits the schemas of Kubernetes."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from cc_serve.config.configuration import load_configuration
from tests.deploy.programs import DEPLOY, FETCHED, output_of, program

CHART = DEPLOY / "helm"
KUBERNETES = ("1.30", "1.34")
CUSTOM = {
    "ScaledObject": "@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject",
    "ServiceMonitor": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor",
}
VALUES = {"default": None} | {path.name.removesuffix("-values.yaml"): path for path in (CHART / "ci").glob("*.yaml")}


@cache
def rendered(values: str = "default", *settings: str) -> list[dict[str, Any]]:
    """The manifests for a set of values, with single settings changed."""
    return list(yaml.safe_load_all(output_of(*_template(values, *settings))))


def refusal(*settings: str, values: str = "default") -> str:
    """What Helm says when it refuses to render."""
    return output_of(*_template(values, *settings), accepted=False)


def one(kind: str, values: str = "default", *settings: str) -> dict[str, Any]:
    (manifest,) = (item for item in rendered(values, *settings) if item["kind"] == kind)
    return manifest


def pod(values: str = "default", *settings: str) -> dict[str, Any]:
    spec: dict[str, Any] = one("Deployment", values, *settings)["spec"]["template"]["spec"]
    return spec


def server(values: str = "default", *settings: str) -> dict[str, Any]:
    container: dict[str, Any] = pod(values, *settings)["containers"][0]
    return container


def _template(values: str, *settings: str) -> list[str]:
    path = VALUES[values]
    command = [program("helm"), "template", "demo", str(CHART), "--namespace", "models"]
    return command + (["--values", str(path)] if path else []) + [f"--set={setting}" for setting in settings]


@pytest.mark.parametrize("values", VALUES)
def test_helm_finds_nothing_to_complain_about(values: str) -> None:
    path = VALUES[values]
    output_of(program("helm"), "lint", "--strict", CHART, *(("--values", path) if path else ()))


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("values", VALUES)
def test_kubernetes_knows_every_field(values: str, version: str) -> None:
    validate = pytest.importorskip("kubernetes_validate").validate
    for manifest in rendered(values):
        if manifest["kind"] not in CUSTOM:
            validate(manifest, version, strict=True)


def test_an_unknown_field_is_found() -> None:
    library = pytest.importorskip("kubernetes_validate")
    manifest = json.loads(json.dumps(one("Deployment")))
    manifest["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(library.ValidationError):
        library.validate(manifest, KUBERNETES[-1], strict=True)


@pytest.mark.parametrize(("kind", "values"), [("ScaledObject", "keda"), ("ServiceMonitor", "existing-secret")])
def test_custom_resources_fit_their_definitions(kind: str, values: str) -> None:
    _validate_custom(one(kind, values))
    wrong = one(kind, values) | {"spec": one(kind, values)["spec"] | {"triggers": 1, "endpoints": 1}}
    _validate_custom(wrong, accepted=False)


def _validate_custom(manifest: dict[str, Any], accepted: bool = True) -> None:
    if not (FETCHED / "node_modules").is_dir():
        pytest.skip("the definitions of custom resources are not there: `make deploy-tools` fetches them")
    module = FETCHED / "node_modules" / CUSTOM[manifest["kind"]]
    code = f"const m = {json.dumps(manifest)}; new (require('{module}')[m.kind])(m).validate()"
    output_of(program("node"), "-e", code, accepted=accepted)


@pytest.mark.parametrize("values", VALUES)
def test_everything_belongs_to_the_release(values: str) -> None:
    for manifest in rendered(values):
        assert manifest["metadata"]["name"] == "demo"
        assert manifest["metadata"]["labels"]["app.kubernetes.io/instance"] == "demo"


def test_selectors_meet_the_pods() -> None:
    labels = one("Deployment")["spec"]["template"]["metadata"]["labels"].items()
    assert one("Service")["spec"]["selector"].items() <= labels
    assert one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"].items() <= labels
    assert one("NetworkPolicy", "network")["spec"]["podSelector"]["matchLabels"].items() <= labels
    monitored = one("ServiceMonitor", "keda")["spec"]["selector"]["matchLabels"].items()
    assert monitored <= one("Service", "keda")["metadata"]["labels"].items()
    for constraint in pod()["topologySpreadConstraints"]:
        assert constraint["labelSelector"]["matchLabels"].items() <= labels


@pytest.mark.parametrize("values", VALUES)
def test_the_container_may_do_nothing_that_it_need_not(values: str) -> None:
    spec = pod(values)
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"] + spec.get("initContainers", []):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    writable = {mount["mountPath"] for mount in server(values)["volumeMounts"] if not mount.get("readOnly")}
    assert writable == {"/dev/shm", "/tmp", "/var/cache/cc-serve"}


def test_a_pod_gets_the_time_that_its_answers_need() -> None:
    settings = ("stop.preStopSeconds=7", "stop.shutdownTimeoutSeconds=600")
    assert server("default", *settings)["lifecycle"]["preStop"] == {"sleep": {"seconds": 7}}
    assert "--shutdown-timeout=600" in server("default", *settings)["args"]
    assert pod("default", *settings)["terminationGracePeriodSeconds"] >= 7 + 600 + 10


def test_the_probes_are_the_servers() -> None:
    container = server("default", "probes.startSeconds=600")
    paths = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")}
    assert paths == {"startup": "/ready", "readiness": "/ready", "liveness": "/live"}
    assert container["startupProbe"]["failureThreshold"] * container["startupProbe"]["periodSeconds"] == 600


def test_a_gpu_deployment() -> None:
    container = server("gpu")
    assert container["resources"]["limits"] == {"memory": "128Gi", "nvidia.com/gpu": 2}
    assert container["image"].endswith("-cuda")
    assert {"--tensor-parallel-size=2", "--max-model-len", "8192"} <= set(container["args"])
    model = next(mount for mount in container["volumeMounts"] if mount["name"] == "model")
    assert model == {"name": "model", "mountPath": "/model", "readOnly": True, "subPath": "ours/v3"}
    assert "--enforce-eager" in server()["args"]
    assert "--enforce-eager" not in container["args"]
    assert "nvidia.com/gpu" not in server()["resources"]["limits"]


def test_a_downloaded_checkpoint() -> None:
    (download,) = pod("network")["initContainers"]
    assert {"name": "model", "mountPath": "/model"} in download["volumeMounts"]
    assert {"name": "model", "mountPath": "/model", "readOnly": True} in server("network")["volumeMounts"]


def test_autoscaling_on_what_the_engine_holds() -> None:
    (metric,) = one("HorizontalPodAutoscaler", "hpa")["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == "cc_serve_requests_running"
    queries = {
        trigger["metadata"]["query"]: trigger["metadata"]["threshold"]
        for trigger in one("ScaledObject", "keda")["spec"]["triggers"]
    }
    assert queries == {
        'sum(vllm:num_requests_running{namespace="models",service="demo"})': "64",
        'sum(vllm:num_requests_waiting{namespace="models",service="demo"})': "4",
    }
    for values in ("hpa", "keda"):
        assert "replicas" not in one("Deployment", values)["spec"]


def test_the_adapter_serves_the_metrics_that_are_asked_for() -> None:
    (rule,) = yaml.safe_load((DEPLOY / "prometheus-adapter.yaml").read_text("utf-8"))["rules"]["custom"]
    offered = {rule["name"]["as"].replace("$1", state) for state in ("running", "waiting")}
    metrics = one("HorizontalPodAutoscaler", "hpa", "autoscaling.waitingRequests=4")["spec"]["metrics"]
    assert {metric["pods"]["metric"]["name"] for metric in metrics} == offered


def test_the_server_can_read_its_configuration(tmp_path: Path) -> None:
    path = tmp_path / "server.yaml"
    path.write_text(one("Secret", "keys")["stringData"]["server.yaml"], "utf-8")
    assert list(load_configuration(path).keys) == ["alice"]
    assert "--cc-config=/etc/cc-serve/server.yaml" in server("keys")["args"]
    assert not any("cc-config" in argument for argument in server()["args"])


def test_a_store_is_an_option(tmp_path: Path) -> None:
    path = tmp_path / "server.yaml"
    path.write_text(one("Secret", "store")["stringData"]["server.yaml"], "utf-8")
    limits = load_configuration(path).limits
    assert (limits.per_key.requests_per_minute, limits.store and limits.store.on_error) == (600, "refuse")
    assert limits.store
    files = {limits.store.password_file: "password", limits.store.ca_file: "ca.crt"}
    mounts = {mount["mountPath"]: mount["name"] for mount in server("store")["volumeMounts"]}
    for file, name in files.items():
        assert file is not None
        assert (mounts[str(file.parent)], file.name) == ("store", name)
    volume = next(volume for volume in pod("store")["volumes"] if volume["name"] == "store")
    assert volume["secret"]["secretName"] == "cc-serve-store"
    assert not [item for item in rendered() if item["kind"] == "Secret"], "off by default"


def test_a_store_alone_is_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "server.yaml"
    path.write_text(one("Secret", "default", "store.url=redis://limits")["stringData"]["server.yaml"], "utf-8")
    store = load_configuration(path).limits.store
    assert store is not None
    assert (store.address, store.password_file) == ("limits:6379", None)
    assert "--cc-config=/etc/cc-serve/server.yaml" in server("default", "store.url=redis://limits")["args"]


def test_new_pods_for_a_new_configuration() -> None:
    def checksum(*settings: str) -> str:
        annotations = one("Deployment", "keys", *settings)["spec"]["template"]["metadata"]["annotations"]
        return str(annotations["checksum/configuration"])

    assert checksum() == checksum("replicas=3") != checksum("configuration.content.limits.choices=2")
    assert checksum() != checksum("store.url=redis://limits")


def test_nobody_is_let_in_unless_named() -> None:
    spec = one("NetworkPolicy", "default", "networkPolicy.enabled=true")["spec"]
    assert (spec["ingress"], spec["egress"]) == ([], [])
    assert len(one("NetworkPolicy", "network")["spec"]["ingress"][0]["from"]) == 2


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (["replica=3"], "'replica' not allowed"),
        (["image.tga=1"], "'tga' not allowed"),
        (["replicas=-1"], "/replicas"),
        (["gpu.count=half"], "/gpu/count"),
        (["stop.preStopSeconds=0"], "/stop/preStopSeconds"),
        (["model.source=s3"], "/model/source"),
        (["autoscaling.kind=vpa"], "/autoscaling/kind"),
        (["model.source=claim"], "model.claim.name"),
        (["model.source=download"], "model.download.image"),
        (["model.source=download", "model.download.image=x", "networkPolicy.enabled=true"], "networkPolicy.egress"),
        (["configuration.content.limits.choices=2", "configuration.existingSecret=x"], "only one of them"),
        (["model.claim.name=x"], "model.claim.name has no effect without model.source: claim"),
        (["model.download.image=x"], "model.download.image has no effect without model.source: download"),
        (["store.onError=refuse"], "store.onError has no effect without store.url"),
        (["store.secret.name=x"], "store.secret.name has no effect without store.url"),
        (
            ["store.url=rediss://a", "store.secret.caKey=ca"],
            "store.secret.caKey has no effect without store.secret.name",
        ),
        (["store.url=http://limits"], "/store/url"),
        (["store.url=redis://user:password@limits"], "/store/url"),
        (["store.onError=ignore"], "/store/onError"),
        (["store.url=redis://limits", "configuration.existingSecret=x"], "store.url and configuration.existingSecret"),
        (["store.url=redis://a", "configuration.content.limits.store.url=redis://b"], "only one of them"),
        (["store.url=redis://limits", "networkPolicy.enabled=true"], "has to allow the store"),
        (["autoscaling.kind=keda"], "autoscaling.prometheus"),
        (["autoscaling.kind=hpa", "autoscaling.minReplicas=20"], "above autoscaling.maxReplicas"),
        (["autoscaling.kind=hpa", "autoscaling.runningRequests=null", "autoscaling.waitingRequests=null"], "or both"),
    ],
)
def test_wrong_values_are_refused_by_name(settings: list[str], names: str) -> None:
    assert names in refusal(*settings)


def test_metrics_behind_keys_are_refused() -> None:
    assert "open_paths" in refusal("configuration.content.open_paths=null", values="keys")
