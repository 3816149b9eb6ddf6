"""Nests: the warm processes that a bench forks its attempts from, one for each environment."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence

from kamerton_ray.machine.environment import user_environment, working_directory
from kamerton_ray.machine.threads import Threading
from kamerton_ray.machine.topology import cpu_sets, topology
from kamerton_ray.process.model_nest import ModelNest
from kamerton_ray.process.outcome import AttemptError
from kamerton_ray.trial.config import Config, has_threads, pinned
from kamerton_ray.trial.instances import environments
from kamerton_ray.trial.knobs import Knobs
from kamerton_ray.trial.model_instances import Instances

logger = logging.getLogger(__name__)

Env = Mapping[str, str] | Callable[[Config], Mapping[str, str]]
"""What the environment has beside the user's, or what it has for a configuration."""

MAX_NESTS = 3
"""How many nests, one for each environment, are kept warm; each holds TensorFlow in memory. A round
keeps as many as it has environments: a nest that is closed takes its attempts along."""


class Nests:
    """The nests of a `build`, made when they are first needed.

    Args:
        build: The pickled function.
        env: What its environment has beside the user's.
        knobs: What a configuration sets in it.
        preload: Whether a nest imports what its attempts need before it forks them.
        tensorflow: Whether `build` needs TensorFlow.
        source: The file of `build`.

    Attributes:
        preload: Whether nests still do so: not where what is imported does not survive a fork.
    """

    def __init__(
        self, build: bytes, *, env: Env, knobs: Knobs, preload: bool, tensorflow: bool, source: str
    ) -> None:
        self.preload = preload
        self._build, self._env, self._knobs = build, env, knobs
        self._tensorflow, self._source = tensorflow, source
        self._warm: dict[str, ModelNest] = {}
        self._most = MAX_NESTS

    def __len__(self) -> int:
        """How many are warm."""
        return len(self._warm)

    def make_room(self, configs: Sequence[Config | None] = ()) -> None:
        """From now on keep as many as these configurations need, which are timed in turn."""
        self._most = max(MAX_NESTS, len(set(map(self._key_of, configs))))

    def of(self, config: Config | None, *, kept: ModelNest | None = None) -> ModelNest:
        """The nest for a configuration; the one used longest ago makes room for a new one.

        Args:
            config: The configuration; None stands for the default.
            kept: The nest that does not make room.
        """
        env = self._environment(config)
        key = _key(env)
        nest = self._warm.pop(key, None) or self._start(env)
        self._warm[key] = nest
        while len(self._warm) > self._most:
            oldest = next(key for key, nest in self._warm.items() if nest is not kept)
            self._warm.pop(oldest).close()
        return nest

    def close(self) -> None:
        """End them all."""
        for nest in self._warm.values():
            nest.close()
        self._warm = {}

    def _environment(self, config: Config | None) -> dict[str, str]:
        """The user's environment, what the user asks for, and what the configuration sets."""
        asked = self._env
        if callable(asked):
            # What differs from configuration to configuration is tuned, so not the default's.
            asked = {} if config is None else asked(config)
        env = {**user_environment(), **{name: str(value) for name, value in asked.items()}}
        return env if config is None else self._knobs.applied(env, config)

    def _key_of(self, config: Config | None) -> str:
        """What tells the environment of a configuration from others; empty where it has none."""
        with contextlib.suppress(AttemptError):
            return _key(self._environment(config))
        return ""

    def _start(self, env: dict[str, str]) -> ModelNest:
        nest = self._started(env)
        if not nest.started:
            return nest
        nest.close()
        self.preload = False
        logger.warning(
            "Importing the module of build starts %s, which does not survive a fork: each trial "
            "imports everything anew, which takes seconds. Create tensors and models, and start "
            "threads, inside build to avoid that.",
            nest.started,
        )
        return self._started(env)

    def _started(self, env: dict[str, str]) -> ModelNest:
        return ModelNest(
            self._build,
            env=env,
            preload=self.preload,
            tensorflow=self._tensorflow,
            cwd=working_directory(),
            source=self._source,
        )


def _key(env: Mapping[str, str]) -> str:
    return json.dumps(env, sort_keys=True)


def forked(nest: ModelNest, config: Config, knobs: Knobs, *, timeout_s: float) -> Instances:
    """The processes of a configuration, which build at the same time."""
    told, checked = environments(config), knobs.variables(config)
    places = cpu_sets(len(told), topology()) if pinned(config) else [()] * len(told)
    threads = Threading.of(config) if has_threads(config) else Threading()
    with contextlib.ExitStack() as stack:
        attempts = [
            stack.enter_context(
                nest.attempt(
                    threads,
                    config,
                    timeout=timeout_s,
                    cpus=place,
                    variables=variables,
                    knobs=checked,
                )
            )
            for place, variables in zip(places, told, strict=True)
        ]
        stack.pop_all()
    return Instances(attempts)
