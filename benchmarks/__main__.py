"""``python -m benchmarks [CASE...] [--rounds N] [--scale N] [--out DIR]``: run cases and tell how store_lib compares.

Each side of each round is a process of its own, in turn, on the same input.  Prints a table and writes
``benchmark.json`` and, where matplotlib is installed, ``benchmark.png``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import cinder_cases, copy_cases, file_cases, http_cases, rbd_cases, s3_cases, swift_cases
from benchmarks.case import Case, Target
from benchmarks.measure import MIB, SCALE, tell
from benchmarks.profile import PROFILES, profiled

CASES: list[Case] = [
    *file_cases.CASES,
    *copy_cases.CASES,
    *http_cases.CASES,
    *s3_cases.CASES,
    *rbd_cases.CASES,
    *swift_cases.CASES,
    *cinder_cases.CASES,
]


def main() -> int:
    """Run what the command line asks for; return 0 unless a run failed."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("case", nargs="*", help="cases to run, all when none is named: " + ", ".join(_names()))
    parser.add_argument("--rounds", type=int, help="runs of each side instead of the case's own number")
    parser.add_argument("--scale", type=int, default=1, help="take images N times smaller, to see that a case runs")
    parser.add_argument("--out", default=".bench", type=Path, help="folder of the results")
    parser.add_argument("--profile", choices=PROFILES, help="tell where the time of one add goes, and run no case")
    parser.add_argument("--one", nargs=2, metavar=("SIDE", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = set(options.case) - set(_names())
    if unknown:
        parser.error(f"there is no case {', '.join(sorted(unknown))}; there are {', '.join(_names())}")
    if options.scale > 1:  # the sides read it, each in its process
        os.environ[SCALE] = str(options.scale)
    if options.profile:
        return _profile(options.profile)
    chosen = [case for case in CASES if not options.case or case.name in options.case]
    if options.one:
        tell(chosen[0].run(options.one[0], Path(options.one[1])))
        return 0
    return _all(chosen, options)


def _names() -> list[str]:
    return [case.name for case in CASES]


def _folder() -> Path:
    """Return a new folder, on tmpfs where there is one."""
    base = "/dev/shm" if os.path.isdir("/dev/shm") else None
    return Path(tempfile.mkdtemp(prefix="store_lib-bench-", dir=base))


def _profile(name: str) -> int:
    folder = _folder()
    try:
        for line in profiled(name, folder):
            print(line, flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _all(chosen: Sequence[Case], options: argparse.Namespace) -> int:
    folder = _folder()
    rows: list[dict[str, Any]] = []
    failed: list[str] = []
    try:
        for case in chosen:
            try:
                row = _compare(case, options.rounds or case.rounds, folder)
            except _Failed as error:  # the other cases are worth having all the same
                print(error, flush=True)
                failed.append(case.name)
                continue
            rows.append(row)
            print(_line(row), flush=True)
            _write(rows, options.out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if rows:
        print(f"\nwritten to {options.out}/benchmark.json" + (" and .png" if _draw(rows, options.out) else ""))
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


class _Failed(Exception):
    """A run of a case ended without a result."""


def _compare(case: Case, rounds: int, folder: Path) -> dict[str, Any]:
    """Run every side of `case` in turn and return medians and how the targets are met."""
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in case.sides}
    for number in range(rounds):
        # The order turns round, so that neither side always runs on a warmer machine.
        for name in case.sides if number % 2 == 0 else reversed(case.sides):
            print(f"  {case.name}: {name}, round {number + 1} of {rounds}   ", end="\r", file=sys.stderr, flush=True)
            runs[name].append(_run(case, name, folder))
    median = {name: statistics.median(run["seconds"] for run in each) for name, each in runs.items()}
    memory = {name: max(run["memory"] for run in each) for name, each in runs.items()}
    processor = {name: statistics.median(run["processor"] for run in each) for name, each in runs.items()}
    others = {name: statistics.median(run["others"] for run in each) for name, each in runs.items()}
    row = {
        "case": case.name,
        "title": case.title,
        "size": runs["store_lib"][0]["size"],
        "seconds": median,
        "memory_mib": memory,
        "processor_seconds": processor,
        "others_seconds": others,
        "against": next(name for name in case.sides if name != "store_lib"),
        "ratio": {name: median[name] / median["store_lib"] for name in case.sides if name != "store_lib"},
        "runs": runs,
    }
    row["targets"] = [_met(target, row) for target in case.targets]
    return row


def _run(case: Case, name: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks", case.name, "--one", name, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            return dict(json.loads(line[7:]))
    raise _Failed(f"{case.name} of {name} failed:\n{done.stdout}{done.stderr}")


def _met(target: Target, row: dict[str, Any]) -> dict[str, Any]:
    if target.kind == "memory":
        found = row["memory_mib"]["store_lib"]
        return {"asked": f"at most {target.value:.0f} MiB", "found": round(found, 1), "met": found <= target.value}
    found = row["ratio"][target.against]
    asked = f"at least {target.value:g} times {target.against}"
    return {"asked": asked, "found": round(found, 2), "met": found >= target.value}


def _line(row: dict[str, Any]) -> str:
    lines = [f"{row['case']}: {row['title']}".ljust(100)]
    for name, seconds in row["seconds"].items():
        speed = f"{row['size'] / seconds / MIB:8.0f} MiB/s" if row["size"] else f"{seconds * 1000:8.2f} ms   "
        ratio = f"  store_lib is {row['ratio'][name]:5.2f} times as fast" if name in row["ratio"] else ""
        spent = ""
        if row["processor_seconds"][name]:
            spent = f"processors {row['processor_seconds'][name]:6.2f} s"
        if row["others_seconds"][name]:
            spent += f" + {row['others_seconds'][name]:6.2f} s of others, {_busy(row, name):4.0%} of the machine"
        lines.append(f"  {name:15} {speed}  peak memory +{row['memory_mib'][name]:6.1f} MiB  {spent}{ratio}")
    for target in row["targets"]:
        lines.append(f"  {'met   ' if target['met'] else 'MISSED'} {target['asked']}: {target['found']}")
    return "\n".join(lines)


def _busy(row: dict[str, Any], name: str) -> float:
    """Return how much of what the processors can do in that time they did: near 1 they are the limit."""
    worked = row["processor_seconds"][name] + row["others_seconds"][name]
    return float(worked / row["seconds"][name] / (os.cpu_count() or 1))


def _write(rows: Sequence[dict[str, Any]], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    told = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "scale": int(os.environ.get(SCALE, "1")),
        "cases": rows,
    }
    (out / "benchmark.json").write_text(json.dumps(told, indent=1) + "\n")


def _draw(rows: Sequence[dict[str, Any]], out: Path) -> bool:
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 1.2 + 0.6 * len(rows)))
    names = [
        row["title"] + ("" if row["against"] == "glance_store" else f" (against {row['against']})") for row in rows
    ]
    ratios = [row["ratio"][row["against"]] for row in rows]
    met = [all(target["met"] for target in row["targets"]) for row in rows]
    bars = axes.barh(names, ratios, color=["tab:green" if each else "tab:red" for each in met])
    axes.bar_label(bars, [f"{ratio:.2f}" for ratio in ratios], padding=3)
    axes.axvline(1, color="black", linewidth=1)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.set_xlabel("how many times as fast as glance_store (medians); red: less than is asked")
    figure.savefig(out / "benchmark.png", dpi=120, bbox_inches="tight")
    return True


if __name__ == "__main__":
    sys.exit(main())
