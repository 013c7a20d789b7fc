"""Ask a real Prometheus every expression of the dashboard and of the recording rules.

    make deploy-tools
    python -m deploy.check_dashboard

starts a tiny server and Prometheus, sends the traffic of `loadtests/locustfile.py` for ``--seconds``, with some
requests that its users do not send, and prints for each expression how many series came back. The exit code is 1 when
an expression gives no number, or a rule does not evaluate.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

import httpx
import yaml

from tests.support.ports import free_port
from tests.support.programs import installed
from tests.support.server import MODEL, save_served_checkpoint, started

HERE: Final = Path(__file__).parent
PROMETHEUS: Final = HERE.parent / ".tools/bin/prometheus"
LOCUST: Final = (installed("locust"), "--headless", "--only-summary", "-u", "4", "-r", "4")
USERS: Final = (
    "--languages",
    "de,fr,en",
    "--examples",
    "0,1",
    "--output-tokens",
    "8,16",
    "--think-seconds",
    "0.2",
    "--turns",
    "1",
)
WINDOW: Final = "30s"


def load(address: str, seconds: float) -> None:
    """Let users ask for so many seconds. Meanwhile send prompts that are undecided, and requests that a limit refuses.

    Raises:
        RuntimeError: the load test failed.
    """
    file = str(HERE.parent / "loadtests/locustfile.py")
    command = [*LOCUST, *USERS, "-f", file, "--host", address, "-t", f"{seconds:.0f}s"]
    users = subprocess.Popen(command, cwd=HERE.parent)
    with httpx.Client(base_url=address, timeout=60) as client:
        while users.poll() is None:
            for content, n in (("123", 1), ("Where is the station?", 129)):
                body = {"messages": [{"role": "user", "content": content}], "max_tokens": 16, "n": n}
                client.post("/v1/chat/completions", json={"model": MODEL, **body})
            time.sleep(0.5)
    if users.returncode:
        raise RuntimeError("the load test failed, see above")


def expressions() -> list[tuple[str, str]]:
    """Each expression, with the title of its panel or the name of its rule."""
    dashboard = json.loads((HERE / "grafana/dashboards/cc-serve.json").read_text("utf-8"))
    rules = yaml.safe_load((HERE / "prometheus/rules.yml").read_text("utf-8"))
    shown = [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel.get("targets", ())]
    recorded = [
        (rule["record"], rule["expr"]) for group in rules["groups"] for rule in group["rules"] if "record" in rule
    ]
    return [(title, expression.replace("$__rate_interval", WINDOW)) for title, expression in shown + recorded]


def numbers(prometheus: httpx.Client, expression: str) -> int:
    """How many series of an expression have a finite number."""
    result = prometheus.get("/api/v1/query", params={"query": expression}).raise_for_status().json()["data"]["result"]
    return sum(math.isfinite(float(series["value"][1])) for series in result)


def check(address: str, folder: Path, seconds: float) -> bool:
    """Scrape the server under load, ask every expression, and return whether each was answered."""
    configuration = yaml.safe_load((HERE / "prometheus/prometheus.yml").read_text("utf-8"))
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration["rule_files"] = [str(HERE / "prometheus/rules.yml")]
    configuration["scrape_configs"][0]["static_configs"] = [{"targets": [address.removeprefix("http://")]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration), "utf-8")
    listen = f"127.0.0.1:{free_port()}"
    command = [str(PROMETHEUS), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address={listen}"], stdout=log, stderr=log)
    try:
        load(address, seconds)
        with httpx.Client(base_url=f"http://{listen}", timeout=30) as prometheus:
            found = [(numbers(prometheus, expression), title, expression) for title, expression in expressions()]
            groups = prometheus.get("/api/v1/rules").raise_for_status().json()["data"]["groups"]
    finally:
        process.terminate()
        process.wait()
    for count, title, expression in found:
        print(f"{count:3} series  {title}: {expression}")
    unwell = [rule["name"] for group in groups for rule in group["rules"] if rule["health"] != "ok"]
    empty = sum(count == 0 for count, _, _ in found)
    print(f"{len(found)} expressions, {empty} without data; rules that do not evaluate: {unwell or 'none'}")
    return not unwell and not empty


def main() -> int:
    """Start the server and check; the exit code is 0 when every expression was answered."""
    parser = argparse.ArgumentParser(
        "python -m deploy.check_dashboard",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=30, help="of load (default: %(default)s)")
    options = parser.parse_args()
    if not PROMETHEUS.exists():
        parser.error("there is no Prometheus: `make deploy-tools` fetches it")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        configuration = folder / "server.yaml"
        configuration.write_text("{routing: {holdout: 0.5}, metrics: {answer_languages: 1}}\n", "utf-8")
        flags = ("--cc-config", str(configuration))
        with started(save_served_checkpoint(folder), folder / "log", *flags) as server:
            return 0 if check(server.address, folder, options.seconds) else 1


if __name__ == "__main__":
    raise SystemExit(main())
