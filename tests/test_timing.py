"""Timing on a simulated machine, whose clock, noise and drift are known."""

import math
import os
import types

import numpy as np
import pytest

from kamerton_ray import InvalidInputError
from kamerton_ray.timing import (
    BATCHES,
    Timer,
    TimingOptions,
    TooFastError,
    hodges_lehmann,
    level_estimate,
    page_fault_seconds,
    paired_estimate,
    stolen_cpu_seconds,
)


class Machine:
    """A clock that steps move, slowed by what happens to the whole machine."""

    def __init__(self, seed=0, slowness=lambda _: 1.0):
        self.now = 0.0
        self.rng = np.random.default_rng(seed)
        self.slowness = slowness
        self.log = []

    def clock(self):
        return self.now

    def process(self, name, step_s, *, noise=0.0, outliers=0.0, faults=0):
        """A process with noise, and so many page faults a step, of its own."""

        def run(count):
            self.log.append((name, count))
            times = []
            for _ in range(count):
                factor = math.exp(noise * self.rng.standard_normal())
                if self.rng.random() < outliers:
                    factor *= 3
                taken = step_s * factor * self.slowness(self.now)
                self.now += taken
                times.append(taken)
            process.faults += faults * count
            process.cpu_s += sum(times)
            return times

        process = types.SimpleNamespace(run=run, faults=0, cpu_s=0.0)
        return process

    def timer(self, **options):
        return Timer(TimingOptions(**options), clock=self.clock, fault_s=1e-6)


def test_warm_up_ends_when_the_step_time_has_settled():
    machine = Machine(slowness=lambda now: 1 + 5 * math.exp(-now / 0.2))
    count, settled = machine.timer(warmup_s=60).warm_up(machine.process("c", 0.001))
    assert settled
    assert machine.now > 0.4  # while the steps still got faster it went on
    assert 8 <= count <= 10


def test_warm_up_that_does_not_settle_says_so():
    machine = Machine(slowness=lambda now: 1.5 + math.sin(20 * now))
    _, settled = machine.timer(warmup_s=1.0).warm_up(machine.process("c", 0.004))
    assert not settled
    assert 1.0 <= machine.now < 1.5


def test_a_slow_step_is_a_block_of_its_own():
    machine = Machine()
    assert machine.timer().warm_up(machine.process("c", 0.5)) == (1, True)


def test_a_step_that_does_nothing_is_too_fast():
    machine = Machine()
    with pytest.raises(TooFastError, match="at least 1 us, but took 1e-07 s"):
        machine.timer().warm_up(machine.process("c", 1e-7))


def test_blocks_take_turns_and_change_who_goes_first():
    machine = Machine()
    timer = machine.timer(budget_s=2.0, precision=1e-9)
    timing = timer.against(machine.process("c", 0.03), machine.process("d", 0.03))
    order = [name for name, _ in machine.log][-2 * timing.blocks :]
    assert "".join(order[:8]) == "cddccddc"
    assert order.count("c") == order.count("d")


def test_the_speed_up_is_default_over_candidate():
    machine = Machine()
    timing = machine.timer().against(machine.process("c", 0.002), machine.process("d", 0.003))
    assert timing.speedup == pytest.approx(1.5)
    assert timing.seconds == pytest.approx(0.002)
    assert timing.default_seconds == pytest.approx(0.003)
    assert timing.speedup_low < 1.5 < timing.speedup_high


def test_percentiles_are_of_single_steps():
    machine = Machine(seed=1)
    timing = machine.timer().against(
        machine.process("c", 0.001, outliers=0.05), machine.process("d", 0.001)
    )
    assert timing.seconds == pytest.approx(0.001)
    assert timing.seconds_p90 == pytest.approx(0.001)
    assert timing.seconds_p99 == pytest.approx(0.003)


def test_alone_there_is_no_speed_up():
    machine = Machine()
    timing = machine.timer(budget_s=1.0).alone(machine.process("c", 0.01))
    assert timing.seconds == pytest.approx(0.01)
    assert math.isnan(timing.speedup)
    assert timing.estimate == "alone"
    assert timing.blocks >= BATCHES


def test_several_are_warmed_up_in_the_order_given_and_timed_in_turn_against_the_default():
    machine = Machine(slowness=lambda now: 1 + now / 5)
    names = {"default": 0.01, "fast": 0.005, "slow": 0.02}
    processes = [machine.process(name, step_s) for name, step_s in names.items()]
    found = machine.timer(budget_s=2.0).together(processes[::-1], default=2)
    assert list(dict.fromkeys(name for name, _ in machine.log)) == ["slow", "fast", "default"]
    machine.log.clear()
    found = machine.timer(budget_s=2.0).together(processes, default=0)
    assert [round(timing.speedup, 1) for timing in found] == [1.0, 2.0, 0.5]
    assert found[0].speedup == 1
    assert len({timing.blocks for timing in found}) == 1
    firsts = [name for name, _ in machine.log[-3 * (found[0].blocks - 1) :: 3]]
    assert firsts[:3] == ["fast", "slow", "default"]


def test_throughput_and_cpu_seconds_are_per_step():
    machine = Machine()
    timing = machine.timer(budget_s=1.0).alone(machine.process("one", 0.02))
    assert timing.throughput == pytest.approx(50)
    assert timing.cpu_seconds == pytest.approx(0.02)


def test_a_steady_machine_needs_no_more_than_two_looks():
    machine = Machine()
    timing = machine.timer(precision=0.04).against(
        machine.process("c", 0.03), machine.process("d", 0.03)
    )
    assert timing.blocks == 2 * BATCHES


def test_page_faults_widen_the_interval():
    """Whether a process faults is luck; a fault takes 1 us on the simulated machine."""
    machine = Machine()
    timer = machine.timer(budget_s=1.0)
    clean = timer.against(machine.process("c", 0.01), machine.process("d", 0.01))
    faulty = timer.against(machine.process("c", 0.01, faults=2000), machine.process("d", 0.01))
    assert math.log(clean.speedup_high) == pytest.approx(1.96 * 0.02)
    assert math.log(faulty.speedup_high) == pytest.approx(1.96 * math.hypot(0.02, 0.2 / 12**0.5))


def test_a_page_fault_costs_something():
    assert 1e-8 < page_fault_seconds() < 1e-3


def test_what_the_hypervisor_takes_is_reported():
    machine = Machine()
    # It takes a fifth of the time from each CPU.
    timer = Timer(
        TimingOptions(),
        clock=machine.clock,
        stolen=lambda: 0.2 * os.cpu_count() * machine.now,
        fault_s=0.0,
    )
    process = machine.process("c", 0.01)
    assert timer.alone(process).stolen == pytest.approx(0.2)
    assert timer.against(process, machine.process("d", 0.01)).stolen == pytest.approx(0.2)
    assert stolen_cpu_seconds() >= 0 or math.isnan(stolen_cpu_seconds())


def test_a_clearly_worse_candidate_is_cut_short():
    machine = Machine(seed=2)
    timing = machine.timer(budget_s=60, precision=1e-9).against(
        machine.process("c", 0.06, noise=0.05), machine.process("d", 0.03, noise=0.05)
    )
    assert timing.cut_short
    assert timing.blocks == 2 * BATCHES
    assert timing.speedup_high < 0.8


def test_a_shared_drift_cancels():
    machine = Machine(seed=3, slowness=lambda now: 1 + 0.3 * math.sin(now))
    timing = machine.timer(budget_s=10, precision=1e-9).against(
        machine.process("c", 0.03, noise=0.01), machine.process("d", 0.036, noise=0.01)
    )
    assert timing.estimate == "paired"
    assert timing.speedup == pytest.approx(1.2, rel=0.01)


def test_a_default_that_jumps_by_itself_is_noticed():
    machine = Machine(seed=4)
    timer = machine.timer(budget_s=2.0, precision=1e-9)
    steady, jumpy = machine.process("c", 0.03, noise=0.01), machine.process("d", 0.03, noise=0.5)
    timings = [timer.against(steady, jumpy) for _ in range(12)]
    assert [timing.estimate for timing in timings[:3]] == ["paired"] * 3
    by_level = [timing for timing in timings if timing.estimate == "level"]
    assert len(by_level) >= 5
    paired = [timing.speedup for timing in timings[:3]]
    assert np.std([t.speedup for t in by_level]) < np.std(paired)


def shaky(seed):
    """A machine whose speed wanders: what is measured together resembles itself."""
    rng = np.random.default_rng(seed)
    steps = np.cumsum(0.02 * rng.standard_normal(10_000))
    return Machine(seed=seed, slowness=lambda now: math.exp(steps[int(now / 0.05) % 10_000]))


@pytest.mark.parametrize("speedup", [1.0, 1.3])
def test_the_interval_covers_the_truth(speedup):
    hits = []
    for seed in range(300):
        machine = shaky(seed)
        process = math.exp(0.01 * machine.rng.standard_normal())  # how two processes differ
        timing = machine.timer(budget_s=2.0).against(
            machine.process("c", 0.02 * process, noise=0.05, outliers=0.02),
            machine.process("d", 0.02 * speedup, noise=0.05, outliers=0.02),
        )
        hits.append(timing.speedup_low <= speedup <= timing.speedup_high)
    assert np.mean(hits) >= 0.93


def test_the_paired_estimate_ignores_a_wild_block():
    rng = np.random.default_rng(5)
    candidate, default = 0.01 * rng.standard_normal((2, 36))
    wild = candidate.copy()
    wild[7] += 3
    assert paired_estimate(wild, default).log_speedup == pytest.approx(
        paired_estimate(candidate, default).log_speedup, abs=0.005
    )


def test_the_level_estimate_carries_the_drift_of_the_default():
    candidate = np.zeros(36)
    calm = level_estimate(candidate, np.array([0.1, 0.1, 0.1, 0.1]))
    drifting = level_estimate(candidate, np.array([0.0, 0.1, 0.2, 0.1]))
    assert calm.log_speedup == drifting.log_speedup == pytest.approx(0.1)
    assert drifting.error > calm.error + 0.05


def test_hodges_lehmann_is_the_median_of_pairwise_means():
    assert hodges_lehmann(np.array([0.0, 1.0, 10.0])) == pytest.approx(3.0)


@pytest.mark.parametrize("name", ["warmup_s", "budget_s", "precision"])
@pytest.mark.parametrize("value", [0, -1, math.nan, True, "1"])
def test_options_must_be_positive_numbers(name, value):
    with pytest.raises(InvalidInputError, match=name):
        TimingOptions(**{name: value})
