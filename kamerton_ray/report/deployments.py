"""The forms of an export that start instances: for servers, containers, services and shells.

Replicas of containers have no number, so only what starts processes by itself tells them one
(`INSTANCE` and `INSTANCES` in `trial/config.py`). A request for CPUs is a request wherever it is
made, never a limit: a quota would stop threads that were measured without one.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping

from kamerton_ray.report.setting import Setting
from kamerton_ray.trial.config import INSTANCE, INSTANCES

SERVE = """\
# serve run FILE, or serve deploy FILE on a cluster; for one machine, and with your own names.
applications:
  - name: model
    import_path: serve:app
    deployments:
      - name: Model
        num_replicas: {instances}
        ray_actor_options:
          num_cpus: {request:g}"""

K8S = """\
# Part of a Deployment; the replicas are those of one machine.
spec:
  replicas: {instances}
  template:
    spec:
      containers:
        - name: model
          resources:
            requests:
              cpu: "{request:g}\""""

REPLICAS = """\
    deploy:
      replicas: {instances}
      resources:
        reservations:
          cpus: "{request:g}\""""

SYSTEMD = """\
# /etc/systemd/system/model@.service, with your own program. Start it with, in bash:
#   systemctl enable --now {names}
[Unit]
Description=Instance %i of the model

[Service]
ExecStart=/usr/bin/env python3 server.py"""

PINNED_UNITS = """\
# Each has CPUs of its own by this, in bash, before they start:
#   for i in {{0..{last}}}; do
#     mkdir -p /etc/systemd/system/model@$i.service.d
#     printf '[Service]\\nCPUAffinity=%d-%d\\n' $((i * {cpus})) $((i * {cpus} + {cpus} - 1)) \\
#       > /etc/systemd/system/model@$i.service.d/cpus.conf
#   done"""

ONE = """\
#!/bin/sh
# Starts a program with its setting: sh FILE PROGRAM ARGUMENTS"""

MANY = """\
#!/bin/sh
# Starts {instances} instances of a program, and waits for them: sh FILE PROGRAM ARGUMENTS
# Ctrl-C ends them all, by SIGTERM."""

EACH = f"""\
pids=
trap 'kill $pids 2>/dev/null' INT TERM HUP
{INSTANCE}=0
while [ "${INSTANCE}" -lt "${INSTANCES}" ]; do
  export {INSTANCE}
  {{run}}"$@" &
  pids="$pids $!"
  {INSTANCE}=$(({INSTANCE} + 1))
done
status=0
for pid in $pids; do
  wait "$pid" || status=$?
  # A signal ends the wait, but not yet the instance.
  while kill -0 "$pid" 2>/dev/null; do wait "$pid" || status=$?; done
done
exit "$status\""""

OWN_CPUS = f"""\
# An equal share of the CPUs that this shell may use, in their order.
cpus=$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status | tr , '\\n' |
  while IFS=- read -r low high; do seq "$low" "${{high:-$low}}"; done)
share=$(($(echo "$cpus" | wc -l) / {INSTANCES}))
own_cpus() {{
  first=$(({INSTANCE} * share + 1))
  mine=$(echo "$cpus" | sed -n "$first,$((first + share - 1))p" | paste -sd , -)
  if [ "$share" -gt 0 ] && command -v taskset >/dev/null; then
    exec taskset -c "$mine" "$@"
  fi
  exec "$@"
}}"""


def serve(setting: Setting) -> list[str]:
    """A config file of Ray Serve (ray/serve/schema.py, `ServeDeploySchema`)."""
    if setting.is_empty:
        return []
    lines = [SERVE.format_map(vars(setting))]
    if setting.environment:
        lines += ["          runtime_env:", "            env_vars:"]
        lines += _mapping(setting.environment, 14)
    return [*_not_pinned(setting), *lines]


def k8s(setting: Setting) -> list[str]:
    """A container's env for one instance, and the fragment of a Deployment for more."""
    # A value in JSON is one in YAML, and stays the string that Kubernetes asks for.
    pairs = setting.environment.items()
    entries = [f"  - name: {name}\n    value: {json.dumps(value)}" for name, value in pairs]
    env = ["env:", *entries] if entries else []
    if setting.instances == 1:
        return env
    deeper = [f"          {line}" for line in "\n".join(env).splitlines()]
    return [*_not_pinned(setting), K8S.format_map(vars(setting)), *deeper]


def compose(setting: Setting) -> list[str]:
    """A service of Docker Compose."""
    if setting.is_empty:
        return []
    lines = [*_not_pinned(setting), "services:", "  model:"]
    if setting.environment:
        # Compose replaces what follows a dollar sign, unless there are two.
        doubled = {n: value.replace("$", "$$") for n, value in setting.environment.items()}
        lines += ["    environment:", *_mapping(doubled, 6)]
    return [*lines, *([REPLICAS.format_map(vars(setting))] if setting.instances > 1 else [])]


def systemd(setting: Setting) -> list[str]:
    """A template unit, and how to start as many of it."""
    if setting.is_empty:
        return []
    last = setting.instances - 1
    lines = [SYSTEMD.format(names=f"model@{{0..{last}}}" if last else "model@0")]
    if setting.pinned and setting.share:
        lines.insert(0, PINNED_UNITS.format(last=last, cpus=setting.share))
    told = {INSTANCE: "%i", INSTANCES: str(setting.instances)}
    own = {name: value.replace("%", "%%") for name, value in setting.environment.items()}
    # What is between double quotes has the escapes of C, as in JSON.
    lines += [f"Environment={json.dumps(f'{n}={value}')}" for n, value in {**own, **told}.items()]
    return [*lines, "", "[Install]", "WantedBy=multi-user.target"]


def triton(setting: Setting) -> list[str]:
    """A part of the config.pbtxt of Triton's TensorFlow backend (its README, "Parameters").

    Each instance is a session of one process. It has its own inter-op threads where that is asked
    for. The intra-op threads are the process's (tensorflow/core/common_runtime/local_device.cc).
    """
    if setting.threads is None and setting.instances == 1:
        return []
    lines = [f"instance_group [ {{ count: {setting.instances}, kind: KIND_CPU }} ]"]
    if setting.threads is not None:
        lines += _parameters(
            TF_NUM_INTRA_THREADS=setting.threads.intra_op,
            TF_NUM_INTER_THREADS=setting.threads.inter_op,
            TF_USE_PER_SESSION_THREADS=1,
        )
    return [*in_environment(setting), *_not_in_triton(setting), *_not_pinned(setting), *lines]


def shell(setting: Setting) -> list[str]:
    """A script that starts the instances, tells each its number, and waits for them."""
    if setting.is_empty:
        return []
    exports = [f"export {name}={shlex.quote(v)}" for name, v in setting.environment.items()]
    if setting.instances == 1:
        return [ONE, *exports, 'exec "$@"']
    lines = [MANY.format_map(vars(setting)), *exports, f"export {INSTANCES}={setting.instances}"]
    lines += [OWN_CPUS] if setting.pinned else []
    return [*lines, EACH.format(run="own_cpus " if setting.pinned else "")]


def unsaid(setting: Setting) -> list[str]:
    """The comment of a form that is about one process."""
    if setting.instances == 1:
        return []
    pinned = ", each on CPUs of its own" if setting.pinned else ""
    return [f"# Start {setting.instances} instances with this{pinned}; the form shell does it."]


def _not_pinned(setting: Setting) -> Iterator[str]:
    if setting.pinned:
        yield "# That each has CPUs of its own cannot be said here."


def in_environment(setting: Setting) -> Iterator[str]:
    """The comment of a form that sets no variables of the server's."""
    if setting.variables:
        said = " ".join(f"{name}={shlex.quote(v)}" for name, v in setting.variables.items())
        yield f"# Set in the server's environment: {json.dumps(said)[1:-1]}"


def _not_in_triton(setting: Setting) -> Iterator[str]:
    if setting.instances > 1 and setting.threads is not None and setting.threads.intra_op != 1:
        yield "# Triton's instances share their intra-op threads: measure again with it."


def _parameters(**values: int) -> Iterator[str]:
    for name, value in values.items():
        yield f'parameters {{ key: "{name}" value {{ string_value: "{value}" }} }}'


def _mapping(values: Mapping[str, str], indent: int) -> Iterator[str]:
    """The lines of a mapping in YAML, whose values stay strings."""
    for name, value in values.items():
        yield f"{' ' * indent}{name}: {json.dumps(value)}"
