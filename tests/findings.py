"""What a search and a comparison could have found, for the tests of the report."""

import math

from kamerton_ray.answer.verdict import Decision, Standing, Verdict
from kamerton_ray.machine.hardware import Machine
from kamerton_ray.trial.result import Result

MACHINE = {"cpu_model": "simulated", "usable_cpus": 2, "tensorflow": "2.21.0", "onednn": "on"}
BEST, DEFAULT = {"intra_op": 1, "inter_op": 1}, {"intra_op": 2, "inter_op": 2}

GAINS = {
    (2, 2): 1.0,
    (1, 2): 1.12,
    (4, 2): 0.8,
    (1, 1): 1.3,
    (2, 1): 1.2,
    (3, 4): 0.7,
    (4, 4): 0.66,
}
"""The speed-up of each pair of counts, in the order of the trials."""

COUNTS = ("instances", "intra_op", "inter_op")
MANY, ALONE = ({"instances": n, "intra_op": 1, "inter_op": 1} for n in (2, 1))

STEPS = {
    (1, 2, 2): 1.0,
    (2, 1, 1): 2.0,
    (1, 1, 1): 1.05,
    (2, 2, 1): 1.9,
    (1, 4, 1): 0.9,
    (2, 1, 2): 1.8,
}
"""How many times the default's steps so many instances do with such counts, in that order."""

SAID = ("seconds", "outcome")

FAILURE = "build raised an exception\nMemoryError: <b>no</b> & $\\frac{1}{0}$"


def trial(speedup, *, place, **config):
    """A trial of `benchmark`: five seconds long, with an interval of 10 % to each side."""
    seconds = 0.02 / speedup
    numbers = {
        "seconds": seconds,
        "seconds_p99": 1.2 * seconds + 0.001 * (place % 3),
        "throughput": 1 / seconds,
        "cpu_seconds": seconds * min(2, config.get("intra_op", 1)),
        "default_seconds": 0.02,
        "speedup": speedup,
        "speedup_low": speedup / 1.1,
        "speedup_high": speedup * 1.1,
    }
    return {
        **numbers,
        "outcome": "ok",
        "error": "",
        "machine": MACHINE,
        "timestamp": 1_700_000_000 + 5 * place,
        "time_total_s": 5.0,
        "config": config,
    }


def of_instances(steps, *, place, instances, **config):
    """A trial of several: a step of one takes as many times as long as there are."""
    alone = trial(steps, place=place, instances=instances, **config)
    return {
        **alone,
        "machine_seconds": alone["seconds"],
        "seconds": instances * alone["seconds"],
        "seconds_p99": 1.1 * instances * alone["seconds"],
        "cpus": instances * 0.7,
        "memory": 3.25e8,
    }


def instances():
    """A search for instances and their counts."""
    return [
        of_instances(steps, place=place, **dict(zip(COUNTS, counts, strict=True)))
        for place, (counts, steps) in enumerate(STEPS.items(), 1)
    ]


def fresh(config, costs, number):
    """A fresh run that took these costs, but for half a thousandth or a whole one."""
    near = {name: cost * (1 + number % 3 / 2000) for name, cost in costs.items()}
    return Result.of({"config": config, **near})


def together(**more):
    """Two instances beat the default in nine rounds, after a race of four."""
    default = {"seconds": 0.02, "seconds_p99": 0.023, "throughput": 50.0, "cpu_seconds": 0.03}
    many = {"seconds": 0.021, "seconds_p99": 0.026, "throughput": 101.0, "cpu_seconds": 0.02}
    alone = {**default, "throughput": 51.5, "cpu_seconds": 0.019}
    rows = ((MANY, 2.02, many), (ALONE, 1.03, alone), (None, 1.0, default))
    rounds = [
        [
            fresh(config, cost, number + place)
            for place, (config, _, cost) in enumerate(rows)
            if config is not ALONE or number < 4
        ]
        for number in range(13)
    ]
    found = {
        "sentence": "2 instances of intra_op=1 inter_op=1 do 2.02x [1.98, 2.06] the steps of "
        "TensorFlow's default (95 %, 9 fresh runs each).",
        "speedup": 2.02,
        "low": 1.98,
        "high": 2.06,
        "reasons": (),
        "table": tuple(
            Standing(config=config, runs=13, gain=gain, value=gain, cpus=1.4, memory=3.25e8, **cost)
            for config, gain, cost in rows
        ),
        "rounds": rounds,
    }
    return verdict(MANY, **{**found, **more})


def failed(*, place, **config):
    """A trial that failed in its process."""
    good = trial(math.nan, place=place, **config)
    return {**good, "outcome": "build_raised", "error": FAILURE, "machine": {}}


def results():
    """Nine trials: one that failed, and one that repeats the best configuration."""
    found = [
        trial(gain, place=place, intra_op=intra, inter_op=inter)
        for place, ((intra, inter), gain) in enumerate(GAINS.items(), 1)
    ]
    return [*found, failed(place=8, intra_op=4, inter_op=1), trial(1.28, place=9, **BEST)]


def verdict(best=BEST, **more):
    """The best beat the default in nine rounds, after a race of four."""
    rounds = [
        [
            Result(config=None, seconds=0.02 + 0.001 * (number % 3), names=SAID),
            Result(config=best, seconds=0.015 + 0.001 * (number % 2), names=SAID),
        ]
        for number in range(13)
    ]
    costs = {"seconds": 0.016, "seconds_p99": 0.019, "throughput": 62.0, "cpu_seconds": 0.016}
    rows = ((best, 1.3), (None, 1.0))
    found = {
        "decision": Decision.USE,
        "sentence": "intra_op=1 inter_op=1 is 1.30x [1.25, 1.35] faster than TensorFlow's default "
        "(95 %, 9 fresh runs each).",
        "config": best,
        "speedup": 1.3,
        "low": 1.25,
        "high": 1.35,
        "runs": 9,
        "tied": (best,),
        "reasons": ("It was preferred for its fewer threads.",),
        "table": tuple(
            Standing(config=config, runs=13, gain=gain, value=gain, **costs)
            for config, gain in rows
        ),
        "machine": MACHINE,
        "rounds": rounds,
        "race_rounds": 4,
    }
    found |= more
    return Verdict(**{**found, "machine": Machine.of(found["machine"])})


def lower(best=BEST):
    """The same for a loss, which may be below zero."""
    rounds = [
        [
            Result.of({"config": None, "loss": 0.5 + 0.01 * (number % 3)}),
            Result.of({"config": best, "loss": -0.2 + 0.01 * (number % 2)}),
        ]
        for number in range(13)
    ]
    costs = dict.fromkeys(("seconds", "seconds_p99", "throughput", "cpu_seconds"), math.nan)
    rows = ((best, 0.7, -0.195), (None, 0.0, 0.51))
    return verdict(
        best,
        sentence="intra_op=1 inter_op=1 is 0.7 [0.69, 0.71] lower in loss than TensorFlow's "
        "default (95 %, 9 fresh runs each).",
        speedup=math.nan,
        difference=0.7,
        low=0.69,
        high=0.71,
        ratios=False,
        table=tuple(
            Standing(config=config, runs=13, gain=gain, value=value, **costs)
            for config, gain, value in rows
        ),
        rounds=rounds,
    )


def losses(kind=float):
    """Trials that report a loss, of which the default's is 0.5."""
    found = {(2, 2): 0.5, (1, 2): 0.0, (1, 1): -0.2, (2, 1): 0.8}
    return [
        {
            "loss": kind(loss),
            "time_total_s": 5.0,
            "machine": MACHINE,
            "config": {"intra_op": intra, "inter_op": inter},
        }
        for (intra, inter), loss in found.items()
    ]


def printed(objective, **config):
    """A trial of `command`."""
    return {
        "objective": objective,
        "seconds": 1.0,
        "outcome": "ok",
        "error": "",
        "machine": {"cpu_model": "simulated", "usable_cpus": 2},
        "config": config,
    }
