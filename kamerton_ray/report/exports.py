"""Writing the answer down: the best configuration in the form in which it is put to use."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.machine.knobs import binds_at_exec
from kamerton_ray.numeric import plain
from kamerton_ray.report import deployments
from kamerton_ray.report.setting import Setting


def export(config: Mapping[str, object], form: str, *, cpus: int | None = None) -> str:
    """A configuration in one of `FORMS`.

    Args:
        config: A trial's: `intra_op` and `inter_op`, `instances` and `pinned`, environment
            variables, parameters of `build`.
        form: For one process: `"env"` for a shell, `"dotenv"` for a .env file, `"docker"` for
            options of docker run, `"tf-serving"` for options of tensorflow_model_server,
            `"python"` for lines before the first tensor. For all instances: `"shell"` for a script
            that starts them, `"serve"` for a config file of Ray Serve, `"k8s"` for a part of a
            Deployment (for one instance a container's env), `"compose"` for a service of Docker
            Compose, `"systemd"` for a template unit, `"triton"` for a part of config.pbtxt, or
            `"json"`.
        cpus: How many CPUs the machine lets be used; None if nobody knows. An instance asks for a
            CPU for each intra-op thread, or for its share of these where they are too few.

    Returns:
        The text, which ends with a line break. What is for one process says in a comment how many
        of it to start.

    Raises:
        InvalidInputError: There is no such form, or it cannot say this configuration.
    """
    if form not in FORMS:
        raise InvalidInputError(
            f"the form of an export must be one of {sorted(FORMS)}, got {form!r}"
        )
    setting = Setting.of(config, cpus=cpus)
    lines = FORMS[form](setting)
    if not lines:
        raise InvalidInputError(f"{form!r} cannot say any of {dict(config)!r}")
    if form not in {"python", "json"}:
        lines = [*lines, *(f"# To be called in the program: {call}" for call in setting.calls)]
    return "\n".join(lines) + "\n"


def _env(setting: Setting) -> list[str]:
    return _one(setting, [f"export {pair}" for pair in _pairs(setting)])


def _dotenv(setting: Setting) -> list[str]:
    return _one(setting, _pairs(setting))


def _docker(setting: Setting) -> list[str]:
    options = " ".join(f"--env {pair}" for pair in _pairs(setting))
    return _one(setting, [options] if options else [])


def _tf_serving(setting: Setting) -> list[str]:
    if setting.threads is None:
        return []
    counts = zip(("intra", "inter"), setting.threads, strict=True)
    options = [f"--tensorflow_{name}_op_parallelism={count}" for name, count in counts]
    return _one(setting, [*deployments.in_environment(setting), " ".join(options)])


def _python(setting: Setting) -> list[str]:
    # What binds when TensorFlow is imported comes before the import.
    own = {n: value for n, value in setting.variables.items() if not binds_at_exec(n)}
    early = {n: value for n, value in setting.variables.items() if binds_at_exec(n)}
    lines = [f"# Before Python starts: {n}={shlex.quote(value)}" for n, value in early.items()]
    lines += list(_count(setting))
    lines += ["import os", ""] if own else []
    lines += [f"os.environ[{name!r}] = {value!r}" for name, value in own.items()]
    if setting.threads is not None or setting.calls:
        lines += ["import tensorflow as tf", ""]
    if setting.threads is not None:
        lines += [
            f"tf.config.threading.set_intra_op_parallelism_threads({setting.threads.intra_op})",
            f"tf.config.threading.set_inter_op_parallelism_threads({setting.threads.inter_op})",
        ]
    return [*lines, *setting.calls]


def _count(setting: Setting) -> Iterator[str]:
    if setting.instances > 1:
        pinned = " on CPUs of its own" if setting.pinned else ""
        yield f"INSTANCES = {setting.instances}  # processes side by side, each{pinned} as follows"
        yield ""


def _json(setting: Setting) -> list[str]:
    return [json.dumps(dict(setting.config), default=plain)]


def _pairs(setting: Setting) -> list[str]:
    return [f"{name}={shlex.quote(value)}" for name, value in setting.environment.items()]


def _one(setting: Setting, lines: list[str]) -> list[str]:
    """What sets one process, after a word on how many of it there are."""
    return [*deployments.unsaid(setting), *lines] if lines else []


FORMS: dict[str, Callable[[Setting], list[str]]] = {
    "env": _env,
    "dotenv": _dotenv,
    "shell": deployments.shell,
    "docker": _docker,
    "compose": deployments.compose,
    "k8s": deployments.k8s,
    "serve": deployments.serve,
    "tf-serving": _tf_serving,
    "triton": deployments.triton,
    "systemd": deployments.systemd,
    "python": _python,
    "json": _json,
}
"""Each form, and what writes it."""

FORM_NAMES = {
    "env": "Shell",
    "dotenv": ".env file",
    "shell": "Script that starts a program",
    "docker": "docker run",
    "compose": "Docker Compose",
    "k8s": "Kubernetes",
    "serve": "Ray Serve",
    "tf-serving": "TensorFlow Serving",
    "triton": "Triton",
    "systemd": "systemd",
    "python": "Python",
    "json": "JSON",
}
"""What a form is called on a page."""
