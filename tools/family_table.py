"""The page of the model families: what the tests have shown of each, as `tools.family_record` has it."""

from __future__ import annotations

from cc_core.architectures import FAMILIES
from tools.family_record import RECORD, SERVED, TRAINED, Shown, read_record

NOTHING = "–"
_INTRODUCTION = f"""# Model families

The table says for each model family what the tests train and serve. A cell has the number of tests, or the numbers of
requests and tokens that were equal to the two-pass reference on transformers: under vLLM's V1 model runner, and after
the semicolon under V2. "{NOTHING}" says that nothing was tested. Every model is tiny, with random weights.
[Another family](../how-to/family.md) takes one row of code.

`make families` runs the tests behind each cell, and records what they compared in `docs/results/{RECORD.name}`. This
page is made from that file. A test fails if the file lacks one of these tests, or has a test that does not exist any
more. Each of these tests fails if it compares other numbers than the file says.
"""


def families() -> str:
    """The table, and below it the sums."""
    shown = read_record()
    head = ["family", *(f"trained, {name}" for name in TRAINED.values()), *SERVED.values()]
    lines = [_INTRODUCTION, _row(head), _row(["---"] * len(head))]
    for family in sorted(FAMILIES):
        trained = (_count(shown, column, family) for column in TRAINED)
        served = (_both_runners(shown, column, family) for column in SERVED)
        lines.append(_row([f"`{family}`", *trained, *served]))
    sums = (_sum(shown, runner) for runner in ("V1", "V2"))
    lines += ["", f"In all, {' and '.join(sums)}.", ""]
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _both_runners(shown: Shown, column: str, family: str) -> str:
    cells = [_count(shown, f"{column} {runner}", family) for runner in ("V1", "V2")]
    return NOTHING if set(cells) == {NOTHING} else "; ".join(cells)


def _count(shown: Shown, column: str, family: str) -> str:
    tests = shown.get(column, {}).get(family)
    if not tests:
        return NOTHING
    requests, tokens = (sum(numbers) for numbers in zip(*tests.values(), strict=True))
    if requests:
        return f"{requests} / {tokens}"
    return f"{len(tests)} {'test' if len(tests) == 1 else 'tests'}"


def _sum(shown: Shown, runner: str) -> str:
    cells = [tests for column in SERVED for tests in shown.get(f"{column} {runner}", {}).values()]
    requests, tokens = (sum(n[i] for tests in cells for n in tests.values()) for i in (0, 1))
    return f"{requests:,} requests and {tokens:,} tokens under {runner}"
