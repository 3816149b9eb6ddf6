"""How long it takes somebody new, from a bare machine to the first answers.

    python benchmarks/newcomer.py

What is committed is cloned, and run with an empty home, an empty pip cache and no environment:

* the demo: what `make demo` installs, then `make demo` itself, to its sentence and its page;
* an install of one's own: a fresh virtual environment with the built wheel, then `kamerton-ray
  exec` on a Keras program that knows nothing of this package.

It prints the seconds of each step and both sentences. Where a step fails it prints what that said,
and ends with 1. It downloads some gigabytes, and needs a quiet machine.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

KEPT = ("PATH", "LANG", "TMPDIR", "PIP_", "SSL_", "http", "HTTP", "no_proxy", "NO_PROXY")
"""How the names of the variables begin that a bare machine has, too: among them its network's."""

PROGRAM = """
import time
import tensorflow as tf

model = tf.keras.applications.MobileNetV2((96, 96, 3), weights=None)
images = tf.random.uniform((8, 96, 96, 3))
predict = tf.function(model)
predict(images)
start = time.perf_counter()
for _ in range(50):
    predict(images)
print(time.perf_counter() - start)
"""


class Newcomer:
    """Somebody with an empty home.

    Args:
        home: The folder for it.
    """

    def __init__(self, home: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if name.startswith(KEPT)}
        self._env = {**kept, "HOME": str(home), "PIP_NO_CACHE_DIR": "1"}
        self._home = home

    def does(self, what: str, *command: str, cwd: Path | None = None) -> str:
        """Run a command, and print how long it took; its standard output."""
        start = time.perf_counter()
        done = subprocess.run(
            command,
            cwd=cwd or self._home,
            env=self._env,
            capture_output=True,
            text=True,
            check=False,
        )
        print(f"{time.perf_counter() - start:7.1f} s  {what}", flush=True)
        if done.returncode:
            sys.exit(f"It failed:\n{done.stdout}{done.stderr}")
        return done.stdout


def demo(somebody: Newcomer, clone: Path) -> None:
    """`make demo`, to its sentence and its page."""
    somebody.does("what make demo installs", "make", ".venv/.demo", cwd=clone)
    said = somebody.does("make demo", "make", "demo", cwd=clone)
    page = clone / "demo.html"
    if not page.is_file():
        sys.exit(f"It wrote no {page.name}:\n{said}")
    print(f"           {sentence(said)}\n           {page.name}: {page.stat().st_size:,} bytes")


def own_install(somebody: Newcomer, clone: Path, home: Path) -> None:
    """The wheel in an environment of its own, and a program that knows nothing of it."""
    python, command = home / "env" / "bin" / "python", home / "env" / "bin" / "kamerton-ray"
    program = home / "program.py"
    program.write_text(PROGRAM)
    pip = (str(clone / ".venv" / "bin" / "python"), "-m", "pip", "wheel", "--quiet", "--no-deps")
    somebody.does("the wheel is built", *pip, "--wheel-dir", str(home), str(clone))
    (wheel,) = home.glob("*.whl")
    somebody.does("a virtual environment", sys.executable, "-m", "venv", str(home / "env"))
    somebody.does("pip install", str(python), "-m", "pip", "install", "--quiet", str(wheel))
    searched = (str(command), "exec", "--quiet", "--objective", "last")
    said = somebody.does("kamerton-ray exec", *searched, "--", str(python), str(program))
    print(f"           {sentence(said)}")


def sentence(said: str) -> str:
    """The answer in what a command has printed: its last line that is a sentence."""
    return next(line for line in reversed(said.splitlines()) if line.endswith("."))


def main() -> None:
    """Clone, and do both."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        clone, somebody = home / "clone", Newcomer(home)
        somebody.does("git clone", "git", "clone", "--quiet", str(ROOT), str(clone))
        demo(somebody, clone)
        own_install(somebody, clone, home)


if __name__ == "__main__":
    main()
