"""Writing the answer down: the best configuration in the form in which it is put to use."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.machine.threads import Threading
from kamerton_ray.numeric import plain
from kamerton_ray.trial.config import environment, has_threads, variables


def export(config: Mapping[str, object], form: str) -> str:
    """A configuration in one of `FORMS`.

    Args:
        config: A trial's: `intra_op` and `inter_op`, environment variables, parameters of `build`.
        form: `"env"` for a shell, `"dotenv"` for a .env file, `"docker"` for options of docker run,
            `"k8s"` for a container's env in YAML, `"tf-serving"` for options of
            tensorflow_model_server, `"python"` for lines before the first tensor, or `"json"`.

    Returns:
        The text, which ends with a line break.

    Raises:
        InvalidInputError: There is no such form, or it cannot say this configuration.
    """
    if form not in FORMS:
        raise InvalidInputError(
            f"the form of an export must be one of {sorted(FORMS)}, got {form!r}"
        )
    lines = FORMS[form](config)
    if not lines:
        raise InvalidInputError(f"{form!r} cannot say any of {dict(config)!r}")
    return "\n".join(lines) + "\n"


def _env(config: Mapping[str, object]) -> list[str]:
    return [f"export {name}={shlex.quote(value)}" for name, value in environment(config).items()]


def _dotenv(config: Mapping[str, object]) -> list[str]:
    return [f"{name}={shlex.quote(value)}" for name, value in environment(config).items()]


def _docker(config: Mapping[str, object]) -> list[str]:
    pairs = environment(config).items()
    return (
        [" ".join(f"--env {name}={shlex.quote(value)}" for name, value in pairs)] if pairs else []
    )


def _k8s(config: Mapping[str, object]) -> list[str]:
    pairs = environment(config).items()
    # A value in JSON is one in YAML, and stays the string that Kubernetes asks for.
    lines = [f"  - name: {name}\n    value: {json.dumps(value)}" for name, value in pairs]
    return ["env:", *lines] if lines else []


def _tf_serving(config: Mapping[str, object]) -> list[str]:
    if not has_threads(config):
        return []
    intra, inter = Threading.of(config)
    options = {"intra": intra, "inter": inter}.items()
    return [" ".join(f"--tensorflow_{name}_op_parallelism={count}" for name, count in options)]


def _python(config: Mapping[str, object]) -> list[str]:
    # What binds when TensorFlow is imported comes before the import.
    own = variables(config)
    lines = ["import os", ""] if own else []
    lines += [f"os.environ[{name!r}] = {value!r}" for name, value in own.items()]
    if has_threads(config):
        threads = Threading.of(config)
        lines += [
            "import tensorflow as tf",
            "",
            f"tf.config.threading.set_intra_op_parallelism_threads({threads.intra_op})",
            f"tf.config.threading.set_inter_op_parallelism_threads({threads.inter_op})",
        ]
    return lines


def _json(config: Mapping[str, object]) -> list[str]:
    return [json.dumps(dict(config), default=plain)]


FORMS: dict[str, Callable[[Mapping[str, object]], list[str]]] = {
    "env": _env,
    "dotenv": _dotenv,
    "docker": _docker,
    "k8s": _k8s,
    "tf-serving": _tf_serving,
    "python": _python,
    "json": _json,
}
"""Each form, and what writes it."""

FORM_NAMES = {
    "env": "Shell",
    "dotenv": ".env file",
    "docker": "docker run",
    "k8s": "Kubernetes",
    "tf-serving": "TensorFlow Serving",
    "python": "Python",
    "json": "JSON",
}
"""What a form is called on a page."""
