"""How many requests a fleet serves, computed from what one replica was measured to serve.

    python -m loadtests.sizing CHECKPOINT

This is arithmetic with stated assumptions, and no simulation of an engine. `loadtests/ramp.py` measures one replica
with your model, GPU and traffic. docs/scaling.md says where the other figures come from.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cc_core.names import CONFIG_FILE, CONNECTION_FILE, WEIGHTS

GPUS: Final = (1, 2, 4, 8, 16, 32, 64, 100, 250, 500, 1000)
_BYTES: Final = {"bfloat16": 2, "float16": 2, "float32": 4}
_GIB: Final = 2**30


@dataclass(frozen=True)
class Model:
    """The memory that a checkpoint needs, in bytes. The GPUs of a replica share it, apart from the connection.

    Args:
        weights: the model's weights.
        connection: the connection, which each GPU holds whole.
        full_cache: KV cache for a token, in layers that attend to everything.
        window_cache: KV cache for a token, in layers that attend to a window.
        window: tokens in that window.
    """

    weights: int
    connection: int
    full_cache: int
    window_cache: int
    window: int

    @classmethod
    def of(cls, checkpoint: Path) -> Model:
        """Read from a checkpoint.

        Raises:
            OSError: there is none.
            KeyError: its configuration lacks a field.
        """
        config = json.loads((checkpoint / CONFIG_FILE).read_text("utf-8"))
        weights = sum(path.stat().st_size for path in checkpoint.glob(WEIGHTS))
        connection = (checkpoint / CONNECTION_FILE).stat().st_size
        layers = config["num_hidden_layers"]
        kinds = config.get("layer_types") or ["full_attention"] * layers
        windowed = sum(kind == "sliding_attention" for kind in kinds)
        row = _row(config)
        return cls(weights, connection, (layers - windowed) * row, windowed * row, config.get("sliding_window") or 0)

    def cache(self, tokens: float) -> float:
        """Bytes of the KV cache of a request of so many tokens."""
        return self.full_cache * tokens + self.window_cache * min(tokens, self.window)


def _row(config: Mapping[str, Any]) -> int:
    heads = config.get("num_key_value_heads") or config["num_attention_heads"]
    size = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    return 2 * int(heads) * int(size) * _BYTES[config.get("dtype") or config["torch_dtype"]]


@dataclass(frozen=True)
class Replica:
    """One server as it was measured, and what it runs on.

    Args:
        knee: requests a second at which first tokens just come within the objective.
        seconds: duration of a request at the knee.
        tokens: tokens of a request, prompt and answer.
        output_tokens: tokens of an answer.
        gpus: GPUs that share the model.
        gpu_bytes: memory of each GPU that vLLM may use.
        reserve_bytes: the part of that which activations and CUDA graphs take.
        front_end_seconds: seconds of one core for a request, apart from its tokens.
        front_end_token_seconds: seconds of one core for each token that is streamed.
        front_ends: API processes, each of which has a core.
    """

    knee: float
    seconds: float
    tokens: float
    output_tokens: float
    gpus: int
    gpu_bytes: float
    reserve_bytes: float
    front_end_seconds: float
    front_end_token_seconds: float
    front_ends: int = 1

    def limits(self, model: Model) -> dict[str, float]:
        """Requests a second that each part of the replica could serve. The replica serves the least of them."""
        free = self.gpus * (self.gpu_bytes - self.reserve_bytes - model.connection) - model.weights
        at_once = max(0.0, free) / model.cache(self.tokens)
        return {
            "engine": self.knee,
            "KV cache": at_once / self.seconds,  # Little's law
            "front end": self.front_ends / (self.front_end_seconds + self.output_tokens * self.front_end_token_seconds),
        }


@dataclass(frozen=True)
class Fleet:
    """Many replicas, and what is needed around them.

    Args:
        utilisation: share of the knee that is planned for, since load is uneven in time and between replicas.
        spare_share: share of replicas that may be missing at a time; at least one, where there are several.
        router_rate: requests a second that one router passes on.
        series: series in one replica's ``/metrics``.
        prometheus_series: series that one Prometheus holds well.
    """

    utilisation: float
    spare_share: float
    router_rate: float
    series: int
    prometheus_series: float

    def row(self, gpus: int, replica: Replica, model: Model) -> dict[str, Any]:
        """What so many GPUs serve, and how many routers and Prometheus servers they need."""
        replicas = gpus // replica.gpus
        spare = max(1, math.ceil(replicas * self.spare_share)) if replicas > 1 else 0
        limits = replica.limits(model)
        first = min(limits, key=lambda name: limits[name])
        rate = (replicas - spare) * limits[first] * self.utilisation
        return {
            "GPUs": gpus,
            "replicas": replicas,
            "spare": spare,
            "requests/s": round(rate, 1),
            "tokens/s": round(rate * replica.output_tokens),
            "at once": round(rate * replica.seconds),
            "routers": math.ceil(rate / self.router_rate) + (1 if replicas > 1 else 0),
            "Prometheus": math.ceil(replicas * self.series / self.prometheus_series),
            "limited by": first,
        }


def main() -> int:
    """Print the replica's limits and the table."""
    parser = argparse.ArgumentParser(
        "python -m loadtests.sizing", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    measured = parser.add_argument_group("measured on one replica, with your traffic")
    measured.add_argument("--knee", type=float, required=True, help="requests a second, by loadtests.ramp")
    measured.add_argument("--request-seconds", type=float, required=True, help="that a request takes near the knee")
    measured.add_argument("--prompt-tokens", type=float, required=True, help="mean")
    measured.add_argument("--output-tokens", type=float, required=True, help="mean")
    machine = parser.add_argument_group("machine")
    machine.add_argument("--gpus-per-replica", type=int, default=1, help="tensor parallel size (default: %(default)s)")
    machine.add_argument("--gpu-gib", type=float, default=80, help="memory of a GPU (default: %(default)s)")
    machine.add_argument("--memory-share", type=float, default=0.92, help="for vLLM (default: %(default)s)")
    machine.add_argument("--reserve-gib", type=float, default=4, help="activations, graphs (default: %(default)s)")
    around = parser.add_argument_group("assumed, or measured here on a CPU (docs/scaling.md)")
    around.add_argument("--front-end-ms", type=float, default=5.0, help="of a core, a request (default: %(default)s)")
    around.add_argument("--front-end-token-ms", type=float, default=0.3, help="and a token (default: %(default)s)")
    around.add_argument("--api-server-count", type=int, default=1, help="API processes (default: %(default)s)")
    around.add_argument("--utilisation", type=float, default=0.7, help="of the knee (default: %(default)s)")
    around.add_argument("--spare-share", type=float, default=0.05, help="of replicas (default: %(default)s)")
    around.add_argument("--router-rate", type=float, default=1000, help="requests a second (default: %(default)s)")
    around.add_argument("--series", type=int, default=1500, help="of a replica's metrics (default: %(default)s)")
    around.add_argument("--prometheus-series", type=float, default=5e6, help="(default: %(default)g)")
    options = parser.parse_args()
    model = Model.of(options.checkpoint)
    replica = Replica(
        options.knee,
        options.request_seconds,
        options.prompt_tokens + options.output_tokens,
        options.output_tokens,
        options.gpus_per_replica,
        options.gpu_gib * _GIB * options.memory_share,
        options.reserve_gib * _GIB,
        options.front_end_ms / 1000,
        options.front_end_token_ms / 1000,
        options.api_server_count,
    )
    fleet = Fleet(
        options.utilisation, options.spare_share, options.router_rate, options.series, options.prometheus_series
    )
    print(f"weights {model.weights / _GIB:.2f} GiB, connection {model.connection / _GIB:.4f} GiB a GPU, ", end="")
    print(f"KV cache {model.cache(replica.tokens) / 2**20:.2f} MiB a request of {replica.tokens:g} tokens")
    print("one replica could serve, in requests/s:", end=" ")
    print(", ".join(f"{name} {rate:.1f}" for name, rate in replica.limits(model).items()))
    rows = [fleet.row(gpus, replica, model) for gpus in GPUS if gpus >= replica.gpus]
    print("".join(f"{name:>12}" for name in rows[0]))
    for row in rows:
        print("".join(f"{value:>12}" for value in row.values()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
