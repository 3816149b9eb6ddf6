"""Whether `--time-budget` is kept, by commands of all kinds, timed from outside.

    python benchmarks/budgets.py --budgets 20 30 60

Kept is a budget that a command exceeds by no more than 15 % or 5 s; one that is decided sooner ends
sooner. Each has to say an answer, or that it is undecided.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

SHARE, SECONDS = 0.15, 5.0
"""A budget may be exceeded by the greater of these."""

SLOW = "import time; time.sleep(4); print(1 + time.time() % 1)"
"""A program of four seconds, whose number is noise."""

MODELS, EXAMPLES = HERE / "models.py", ROOT / "examples"

COMMANDS = {
    "tune MobileNetV2": ["tune", f"{MODELS}:mobilenet"],
    "tune MobileNetV2, instances": ["tune", "--instances", "auto", f"{MODELS}:mobilenet"],
    "tune ResNet50": ["tune", f"{MODELS}:resnet"],
    "exec, 4 s": ["exec", "--objective", "last", "--minimize", "--", sys.executable, "-c", SLOW],
    "exec plain_keras.py": ["exec", "--", sys.executable, str(EXAMPLES / "plain_keras.py")],
    "run loop.py": ["run", str(EXAMPLES / "loop.py")],
}
"""What is run; the options that all of them get follow its first word."""


def run(argv: list[str], budget: float) -> tuple[float, str]:
    """How many seconds a command takes, and what it answers."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--time-budget", str(budget), "--json", "--quiet", "--storage", folder]
        begin = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "kamerton_ray.cli", argv[0], *options, *argv[1:]],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - begin
    return seconds, answer(done.stdout) or f"code {done.returncode}: {done.stderr[-300:]}"


def answer(output: str) -> str:
    """The sentence of the answer in what a command prints; a script prints more after it."""
    for line in output.splitlines():
        if line.startswith("{") and '"sentence"' in line:
            return json.loads(line)["sentence"]
    return ""


def main() -> None:
    """Read the command line, and run all of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--budgets", type=float, nargs="+", default=[20.0, 60.0])
    parser.add_argument("--commands", nargs="+", default=list(COMMANDS), choices=list(COMMANDS))
    arguments = parser.parse_args()
    kept = 0
    for budget in arguments.budgets:
        for name in arguments.commands:
            seconds, said = run(COMMANDS[name], budget)
            is_kept = seconds <= budget + max(SHARE * budget, SECONDS)
            kept += is_kept
            verdict = "" if is_kept else "EXCEEDED "
            print(f"{budget:5.0f} s  {name:<28} {seconds:6.1f} s {verdict} {said}", flush=True)
    print(f"{kept} of {len(arguments.budgets) * len(arguments.commands)} budgets were kept")


if __name__ == "__main__":
    main()
