"""A simulated machine on which (instances, intra_op) settle how many steps are done."""

import math
import random

from kamerton_ray.trial.result import Result

MACHINE = {"cpu_model": "simulated", "usable_cpus": 4}


def config_of(instances, intra):
    return {"instances": instances, "intra_op": intra, "inter_op": 4 if intra == 4 else 1}


class Steady:
    """What `benchmark` would measure there.

    Args:
        speeds: How many times the default's steps each does.
        p99: The time that 99 % of the steps keep below; of the default for None.
        cpu: The CPU seconds of a step, likewise.
    """

    def __init__(self, speeds, *, p99=None, cpu=None, noise=0.01):
        self.speeds, self.p99, self.cpu, self.noise = speeds, p99 or {}, cpu or {}, noise
        self.random = random.Random(0)  # noqa: S311 - noise

    def fits(self, _configs):
        return True

    def measure_round(self, configs):
        seconds = {id(one): self._seconds(one) for one in configs}
        default = seconds.get(id(None), math.nan)
        return [self._result(one, seconds[id(one)], default) for one in configs]

    def close(self):
        """Nothing is open."""

    def _seconds(self, config):
        speed = 1.0 if config is None else self.speeds[self._key(config)]
        return math.exp(self.noise * self.random.gauss(0, 1)) / speed

    def _key(self, config):
        return None if config is None else (config["instances"], config["intra_op"])

    def _result(self, config, seconds, default):
        key = self._key(config)
        cpu = self.cpu.get(key, 0.03)
        told = {
            "seconds": seconds,
            "machine_seconds": seconds,
            "speedup": default / seconds,
            "throughput": 1 / seconds,
            "seconds_p99": self.p99.get(key, math.nan),
            "cpu_seconds": cpu,
            "cpus": cpu / seconds,
            "machine": MACHINE,
        }
        return Result.of(told)


def searched(speeds):
    """What a search over these would have found."""
    found = Steady(speeds, noise=0.0)
    configs = [config_of(*key) for key in speeds]
    results = found.measure_round([None, *configs])[1:]
    return [
        {**result.report(), "config": config, "time_total_s": 1.0, "default_seconds": 1.0}
        for config, result in zip(configs, results, strict=True)
    ]
