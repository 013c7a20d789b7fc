"""Check on this machine that a checkpoint is served right, and how fast beside stock vLLM."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from benchmarks.gpu_check.answers import EAGER, Answer
from benchmarks.gpu_check.parts import DTYPES, MACHINE, SCORES, SPEED, PartError, engine_parts, run_part
from benchmarks.gpu_check.report import FAILED, NOT_JUDGED, NOT_RUN, PASSED, Report
from benchmarks.gpu_check.verdicts import judge, problems_of_engine
from cc_core.terminal.exit_codes import FAILURE
from cc_serve.process.checked import checked_description

GRAPHS: Final = ("piecewise", "full")
NO_GRAPHS: Final = "no CUDA graphs and no check of what the host waits for: vLLM finds no GPU here"


class Check:
    """The whole check: part after part, with the report written anew after each.

    Args:
        checkpoint: to be served.
        folder: for the report, and each part's log and result.
        options: of the command.
    """

    def __init__(self, checkpoint: Path, folder: Path, options: argparse.Namespace) -> None:
        self.report = Report(folder, checkpoint)
        self._checkpoint, self._folder, self._options = checkpoint, folder, options
        self._deadline = time.monotonic() + 60 * options.minutes

    def run(self) -> None:
        """Run all parts that there is time for."""
        machine = self._part(MACHINE)
        if machine is not None:
            self.report.machine = machine
            self._run_on(machine)
        self.report.finished = True
        self.report.write()

    def _run_on(self, machine: dict[str, str]) -> None:
        on_gpu = machine["device"] == "cuda"
        modes = (EAGER, *GRAPHS) if on_gpu else (EAGER,)
        if not on_gpu:
            self.report.skipped.append(NO_GRAPHS)
        for dtype in DTYPES:
            self._answers(dtype, modes, machine["device"])
        if self._options.no_speed:
            self.report.skipped.append("speed: --no-speed")
        else:
            self._speed(on_gpu)

    def _answers(self, dtype: str, modes: Sequence[str], device: str) -> None:
        parts = dict(zip(engine_parts(dtype, modes), modes, strict=True))
        facts = {part: found for part in parts if (found := self._part(part, outcome=NOT_JUDGED)) is not None}
        if not facts:
            return
        scores = self._part(f"{SCORES}-{dtype}", "--of", *facts)
        for part, found in facts.items():
            answers = [Answer(**answer) for answer in found.pop("answers")]
            problems = problems_of_engine(parts[part], found)
            details: dict[str, Any] = {}
            if scores is not None:
                verdict = judge(dtype, device, answers, scores[part])
                problems += verdict.problems
                details = {"plain": asdict(verdict.plain), "connected": asdict(verdict.connected)}
            entry = self.report.parts[part]
            entry |= found | details | {"problems": problems}
            entry["outcome"] = FAILED if problems else PASSED if scores is not None else NOT_JUDGED
        self.report.write()

    def _speed(self, judged: bool) -> None:
        options = self._options
        flags = [("--rounds", options.rounds), ("--concurrency", options.concurrency), ("--memory", options.memory)]
        results = self._part(SPEED, *(str(word) for flag in flags for word in flag))
        if results is None:
            return
        self.report.speed = results if judged else [result | {"verdict": NOT_JUDGED} for result in results]
        missed = [result["case"] for result in self.report.speed if result["verdict"] == "missed"]
        self.report.parts[SPEED] |= {"problems": [f"missed: {case}" for case in missed]}
        self.report.parts[SPEED]["outcome"] = FAILED if missed else PASSED

    def _part(self, part: str, *extra: str, outcome: str = PASSED) -> Any:
        """What a part found; None if it did not finish, which the report then says."""
        left = self._deadline - time.monotonic()
        start = time.monotonic()
        entry: dict[str, Any] = {"outcome": outcome, "problems": []}
        found = None
        try:
            if left <= 0:
                raise PartError(f"no time was left of {self._options.minutes:g} minutes; raise --minutes")
            found = run_part(part, self._checkpoint, self._folder, left, extra)
        except PartError as error:
            entry = {"outcome": FAILED if left > 0 else NOT_RUN, "problems": [str(error)]}
        entry["seconds"] = time.monotonic() - start
        self.report.parts[part] = entry
        self.report.write()
        print(f"{part:<22}{entry['seconds']:6.0f} s  {'; '.join(entry['problems']) or 'done'}", flush=True)
        return found


def make_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check", description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="directory of a CC-Tuned checkpoint")
    folder = Path("outputs/gpu_check")
    parser.add_argument("--output", type=Path, default=folder, help="folder of the report (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=10, help="for all of it (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of the speed (default: %(default)s)")
    parser.add_argument("--concurrency", type=int, default=16, help="requests at once, for the speed")
    parser.add_argument(
        "--memory", type=float, default=0.25, help="of the GPU's, for each of the speed's three engines"
    )
    parser.add_argument("--no-speed", action="store_true", help="check the answers alone")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the check. The exit code is 1 where anything is wrong or was not run, and 2 for unusable options."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    for name, least in (("minutes", 0.1), ("rounds", 2), ("concurrency", 1)):
        if not getattr(options, name) >= least:
            parser.error(f"--{name} must be {least:g} or more")
    if not 0 < options.memory < 1 / 3:
        parser.error("--memory must be above 0 and below 1/3: three engines share the GPU")
    try:
        checked_description(options.checkpoint)
        options.output.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    check = Check(options.checkpoint.resolve(), options.output, options)
    check.run()
    print(check.report.summary())
    return 0 if check.report.passed else FAILURE


if __name__ == "__main__":
    sys.exit(main())
