"""Restart two replicas under load, one after the other, and count the streams that break. None should.

    python -m loadtests.rolling_restart CHECKPOINT

Clients do what a load balancer does: they go to the other replica when one refuses them before an answer has begun.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from pathlib import Path

from loadtests.replicas import FINISHED, REFUSED, UNANSWERED, Load, Replica


async def restart_both(checkpoint: Path, clients: int, flags: list[str]) -> Counter[str]:
    """Restart each of two replicas under the load of ``clients``, and count what became of their requests."""
    replicas = [Replica(checkpoint, flags) for _ in range(2)]
    await asyncio.gather(*(replica.start() for replica in replicas))
    load = Load([replica.address for replica in replicas], checkpoint.resolve().name)
    tasks = [asyncio.create_task(load.run(number)) for number in range(clients)]
    try:
        for replica in replicas:
            await asyncio.sleep(2)
            load.counts[f"exit {await replica.stop()}"] += 1
            await replica.start()
        await asyncio.sleep(2)
        load.over = True
        await asyncio.gather(*tasks)
    finally:
        await asyncio.gather(*(replica.stop() for replica in replicas if replica.process.returncode is None))
    return load.counts


def main() -> int:
    """Restart and print; the exit code is 1 when a stream broke."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--clients", type=int, default=6)
    options, flags = parser.parse_known_args()
    counts = asyncio.run(restart_both(options.checkpoint, options.clients, flags))
    for outcome, count in sorted(counts.items()):
        print(f"{outcome:10} {count}")
    return 0 if set(counts) <= {FINISHED, REFUSED, UNANSWERED, "exit 0"} else 1


if __name__ == "__main__":
    sys.exit(main())
