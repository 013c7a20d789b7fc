"""Checks the image for GPUs where there is none, for `tools/image_test.sh`.

python -m tests.deploy.image_without_gpu IMAGE
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.server import save_served_checkpoint

# What serving imports, where vLLM finds no device. The V2 model runner would load kernels.
MODULES = ("cc_serve.api.server", "cc_serve.engine.scheduler", "cc_serve.engine.worker", "cc_serve.engine.plugin")
NO_GPU = "cc-serve: no GPU is found, and vllm 0.33.0 is vLLM's build for GPUs; look at nvidia-smi, "


def main(image: str) -> None:
    """Check one thing after the other. The first that does not hold raises."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = save_served_checkpoint(Path(folder))
        for path in (Path(folder), checkpoint, *checkpoint.iterdir()):  # the image's user is another one
            path.chmod(0o755 if path.is_dir() else 0o644)
        options = ("--network=host", "--read-only", "--cap-drop=all", "--security-opt", "no-new-privileges")

        def run(*command: str, entry: str = "", text: str = "", code: int = 0) -> subprocess.CompletedProcess[str]:
            """Run a container to its end, as docs/deploy.md says; ``code`` is what it has to end with."""
            entrypoint = ("--entrypoint", entry) if entry else ()
            podman = ("podman", "run", "--rm", "-i", "--no-healthcheck", *options, "-v", f"{checkpoint}:/model:ro")
            given = (*podman, *entrypoint, image, *command)
            done = subprocess.run(given, check=False, capture_output=True, text=True, input=text)
            assert done.returncode == code, f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
            return done

        assert "start the OpenAI-compatible server" in run("--help").stdout
        assert run("-u", entry="id").stdout.strip() == "10001"
        assert run("--version", entry="gcc").stdout, "Triton needs it"
        assert "Read-only" in run("/opt/x", entry="touch", code=1).stderr
        run("-c", f"import {', '.join(MODULES)}", entry="python3")
        routed = json.loads(
            run("route", "--checkpoint", "/model", text='"Wo ist der Bahnhof in dieser Stadt?"\n').stdout
        )
        assert (routed["language"], routed["connection"]) == ("de", "de")
        checks = json.loads(run("doctor", "/model", "--json", code=1).stdout)["checks"]
        assert [check["name"] for check in checks if check["status"] != "ok"] == ["processor"], checks
        for command in (["serve", "/model"], ["serve", "--help=dtype"], ["completion", "bash"]):
            start = run(*command, code=2)
            assert start.stderr.splitlines()[-1].startswith(NO_GPU), start.stderr
        print("\n".join(f"{check['status']:<8} {check['name']:<12} {check['found']}" for check in checks))
        print(start.stderr.splitlines()[-1])
    print("the image helps, routes and examines, as uid 10001 on a read-only root; what it lacks to serve is a GPU")


if __name__ == "__main__":
    main(*sys.argv[1:])
