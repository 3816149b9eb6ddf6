"""What a user's program finds in a trial, whatever Ray's workers have."""

import os
import subprocess
import sys

import pytest

from kamerton_ray.machine.environment import user_environment, user_niceness


def test_another_process_that_has_the_raylets_number_is_not_believed(monkeypatch):
    with subprocess.Popen(["sleep", "999"], env={"FOREIGN": "yes"}) as other:
        monkeypatch.setenv("RAY_RAYLET_PID", str(other.pid))
        assert user_environment() == dict(os.environ)
        other.kill()


def test_a_number_that_is_none_is_not_believed(monkeypatch):
    monkeypatch.setenv("RAY_RAYLET_PID", "none")
    assert user_environment() == dict(os.environ)
    assert user_niceness() == os.getpriority(os.PRIO_PROCESS, 0)


def test_what_a_runtime_environment_asks_for_has_its_names_replaced(ray_cluster):
    task = ray_cluster.remote(user_environment)
    asked = {"PLAIN": "1", "LONGER": "before:${PATH}", "EMPTY": "${NO_SUCH_NAME}"}
    found = ray_cluster.get(task.options(runtime_env={"env_vars": asked}).remote())
    assert found["PLAIN"] == "1"
    assert found["LONGER"].startswith("before:/")
    assert found["EMPTY"] == ""


def test_in_a_trial_the_niceness_is_that_of_ray_itself(ray_cluster):
    assert ray_cluster.get(ray_cluster.remote(user_niceness).remote()) == os.nice(0)


def test_a_trial_has_the_users_allocator(ray_cluster):
    found = ray_cluster.get(ray_cluster.remote(user_environment).remote())
    for name in ("LD_PRELOAD", "MALLOC_CONF", "RAY_LD_PRELOAD_ON_WORKERS"):
        assert found.get(name) == os.environ.get(name)


# Writes down what a program inherits. Signals 32 and 33 are glibc's own: its posix_spawn(3), which
# Python's subprocess uses since 3.13 where it can, has the child ignore them.
LOOK = """
import os, re, resource
status = open("/proc/self/status").read()
masks = re.findall("^Sig(Blk|Ign):(.*)", status, re.MULTILINE)
lines = [f"{name} {int(mask, 16) & ~(0b11 << 31):x}" for name, mask in masks]
lines += [f"niceness {os.nice(0)}", f"umask {os.umask(0):o}", f"folder {os.getcwd()}"]
lines += [f"open {sorted(map(int, os.listdir('/proc/self/fd')))[:-1]}"]
names = sorted(name for name in dir(resource) if name.startswith("RLIMIT"))
lines += [f"{name} {resource.getrlimit(getattr(resource, name))}" for name in names]
lines += [f"variable {name} {value!r}" for name, value in sorted(os.environ.items())]
open("seen", "w").write("\\n".join(lines))
print(1)
"""

LOOP = """
from kamerton_ray import kamerton
for attempt in kamerton(vertex=[1, 1], bounds=[(1, 1), (1, 1)], iterations=1):
    exec(open("look.py").read(), {})
    print(1)
"""

MODEL = """
def build():
    exec(open("look.py").read(), {})
    return lambda: sum(range(9999))
"""

DOCUMENTED = (
    "RLIMIT_NOFILE",  # Ray raises how many files may be open
    "variable RAY_",
    "variable TF_NUM_",  # what is tried
    "umask 0",  # the second look in a process sees the first one's
)
"""In what a trial differs; docs/explanation/process-per-trial.md says it."""

OF_OURS = {
    "exec": (),
    # The loop and a model's process have a connection to whoever has started them.
    "run": ("open ", "variable KAMERTON_RAY_"),
    "tune": ("open ",),
}

PLAIN = {
    "exec": [sys.executable, "look.py"],
    "tune": [sys.executable, "-c", "import tensorflow, model; model.build()"],
}

COMMANDS = {
    "exec": ("exec", "--objective", "last", "--no-compare"),
    "run": ("run",),
    "tune": ("tune", "model.py:build", "--seconds", "0.1", "--no-compare"),
}

PROGRAMS = {
    "exec": (sys.executable, "look.py"),
    "run": ("loop.py",),
    "tune": (),
}


@pytest.mark.parametrize("kind", COMMANDS)
def test_a_trial_is_the_users_program(kind, tmp_path):
    for name, text in (("look.py", LOOK), ("loop.py", LOOP), ("model.py", MODEL)):
        (tmp_path / name).write_text(text)
    options = {"cwd": tmp_path, "stdin": subprocess.DEVNULL, "capture_output": True}

    def seen():
        lines = (tmp_path / "seen").read_text().splitlines()
        (tmp_path / "seen").unlink()
        return [one for one in lines if not one.startswith((*DOCUMENTED, *OF_OURS[kind]))]

    subprocess.run(PLAIN.get(kind, PLAIN["exec"]), check=True, **options)
    plain = seen()
    command, *rest = COMMANDS[kind]
    ours = [sys.executable, "-m", "kamerton_ray.cli", command, "--trials", "1", *rest]
    done = subprocess.run([*ours, *PROGRAMS[kind]], check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n".join(seen()) == "\n".join(plain)
