"""TensorFlow's default threads, as a process that is kept to compare candidates with."""

from __future__ import annotations

import logging
from collections.abc import Callable

from kamerton_ray.process.model_nest import ModelNest
from kamerton_ray.process.outcome import AttemptError, Outcome
from kamerton_ray.trial.model_instances import Instances
from kamerton_ray.trial.timing import Timer, Timing

logger = logging.getLogger(__name__)


class KeptDefault:
    """TensorFlow's default threads, as a process to compare with.

    Attributes:
        key: What it was built of.
        error: Why it cannot be measured; then candidates are timed alone.
        nest: What it was forked from.
        built_beside: Whether it built while the candidate that was timed last did.
    """

    def __init__(self, key: str, timer: Timer) -> None:
        self.key = key
        self.error = ""
        self.nest: ModelNest | None = None
        self.built_beside = False
        self._timer = timer
        self._attempt: Instances | None = None
        self._has_built = False

    def start(self, nest: ModelNest, fork: Callable[[], Instances]) -> None:
        """Fork the process, which builds by itself."""
        self.nest, self._attempt, self._has_built = nest, fork(), False

    def wait(self) -> None:
        """Wait until it has built; where that fails only `error` tells."""
        if self._attempt is None or self._has_built:
            return
        self._has_built = True
        try:
            self._attempt.build()
        except AttemptError as error:
            self._give_up(error)
        else:
            self._attempt.look()

    @property
    def memory(self) -> int:
        """How many bytes it was seen to hold; 0 where it is not there, or has not built yet."""
        return 0 if self._attempt is None else self._attempt.memory

    def time(self, attempt: Instances) -> Timing:
        """Time a candidate against the default, or alone where the default has failed."""
        self.built_beside = self._attempt is not None and not self._has_built
        self.wait()
        attempt.build()
        if self._attempt is None:
            return self._timer.alone(attempt)
        try:
            return self._timer.against(attempt, self._attempt)
        except AttemptError as error:
            if self._attempt.error is None:
                raise
            self._give_up(error)
        return self._timer.alone(attempt)

    def close(self) -> None:
        """End the process."""
        if self._attempt is not None:
            self._attempt.close()
            self._attempt = None

    def _give_up(self, error: AttemptError) -> None:
        if error.outcome is Outcome.SERVER_LOST:
            raise error
        self.error = f"TensorFlow's default could not be measured: {error}"
        if not self.built_beside:  # or else it is tried once more
            logger.warning("%s", self.error)
        self.close()
