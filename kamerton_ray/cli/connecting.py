"""The Ray of a search: one that is started on this machine for it, or a cluster's."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import cloudpickle

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.tune.placement import note_own_node

# A trial is as nice as the program would be, which its worker's own niceness decides where no root
# can take it back.
LOCAL: Mapping[str, object] = {
    "include_dashboard": False,
    "_system_config": {"worker_niceness": 0},
}
"""What a Ray on this machine alone is started with."""

OUR_OWN_OUTPUT = {"RAY_AIR_NEW_OUTPUT": "0", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"}
"""Variables by which Ray leaves it to us to show and keep what trials report."""


@contextmanager
def connected(address: str | None, folder: Path) -> Iterator[None]:
    """Be connected to Ray meanwhile.

    Args:
        address: The cluster's; without one Ray is started on this machine.
        folder: What travels to a cluster's nodes.

    Raises:
        InvalidInputError: There is no such cluster, or it is to be reached through Ray Client.
    """
    _refuse_ray_client(address)
    import ray  # noqa: PLC0415 - the command line must start without it

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what fails, we say ourselves
    try:
        ray.init(
            address or "local",
            **(_travelling(folder) if address else LOCAL),
            log_to_driver=False,
            logging_level="ERROR",
        )
    except ConnectionError as error:
        raise InvalidInputError(f"no Ray cluster answers at {address!r}: {error}") from error
    # Now: what stands in the environment before Ray's start is in that of every trial, too.
    for name, value in OUR_OWN_OUTPUT.items():
        os.environ.setdefault(name, value)
    try:
        if address is None:
            note_own_node()  # a process that answers for it would take a second to start
        yield
    finally:
        ray.shutdown()


def _refuse_ray_client(address: str | None) -> None:
    if (address or "").startswith("ray://"):
        raise InvalidInputError(
            "the address must be that of a cluster which this machine is part of, since Ray Client "
            f"would take the search elsewhere, but got {address!r}. From outside: ray job submit "
            "--address http://HEAD:8265 --working-dir . -- kamerton-ray ... --address auto"
        )


def _travelling(folder: Path) -> Mapping[str, object]:
    """The option by which a folder travels to the nodes, unless a job of Ray has brought its own.

    Ray refuses two (ray/_private/worker.py, `_merge_runtime_env`).
    """
    job = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
    brought = "working_dir" in (job.get("runtime_env") or {})
    return {} if brought else {"runtime_env": {"working_dir": str(folder)}}


def send_by_value(module: ModuleType) -> None:
    """Let a module's functions travel as code: nodes of a cluster may not have the module."""
    from ray import cloudpickle as rays  # noqa: PLC0415 - the command line must start without it

    for pickler in (cloudpickle, rays):
        pickler.register_pickle_by_value(module)
