"""Timing on a simulated machine, whose clock, noise and drift are known."""

import math
import os
import types

import numpy as np
import pytest

from kamerton_ray import InvalidInputError
from kamerton_ray.machine.cgroups import Quota
from kamerton_ray.machine.neighbours import WINDOW_S, Gauges, stolen_cpu_seconds
from kamerton_ray.process.spent import Spent
from kamerton_ray.trial.estimate import BATCHES, USUAL_SPREAD, batch_reach, session_spread
from kamerton_ray.trial.timing import (
    LEAST_PAIRS,
    Timer,
    TimingOptions,
    TooFastError,
    hodges_lehmann,
)
from kamerton_ray.trial.window import Run, Window


def steps(begin, seconds):
    """A window of steps that took so long, one after the other."""
    return Window.of([Run(begin + np.cumsum([0.0, *seconds]))])


def process(run):
    """A process of one instance that runs steps so."""
    return types.SimpleNamespace(run=run, spent=Spent(), count=1, memory=0, look=lambda: None)


class Machine:
    """A clock that steps move, slowed by what happens to the whole machine."""

    def __init__(self, seed=0, slowness=lambda _: 1.0):
        self.now = 0.0
        self.rng = np.random.default_rng(seed)
        self.slowness = slowness
        self.log = []

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds

    def process(self, name, step_s, *, noise=0.0, outliers=0.0):
        """A process with noise of its own."""

        def run(count):
            self.log.append((name, count))
            begin, times = self.now, []
            for _ in range(count):
                factor = math.exp(noise * self.rng.standard_normal())
                if self.rng.random() < outliers:
                    factor *= 3
                taken = step_s * factor * self.slowness(self.now)
                self.now += taken
                times.append(taken)
            made.spent += Spent(sum(times))
            return steps(begin, times)

        made = process(run)
        return made

    def gauges(self, **more):
        """An idle machine without a quota, but for what is said."""
        idle = {"stolen": lambda: 0.0, "others": lambda: 0.0, "names": lambda: "stress 1.0"}
        idle |= {"room": 0.0, "quota": None}
        return Gauges(clock=self.clock, sleep=self.sleep, **(idle | more))

    def timer(self, *, stolen=lambda: 0.0, others=lambda: 0.0, quota=None, **options):
        gauges = self.gauges(stolen=stolen, others=others, quota=quota)
        return Timer(TimingOptions(**({"patience_s": 0} | options)), gauges=gauges)


def test_warm_up_ends_when_the_step_time_has_settled():
    machine = Machine(slowness=lambda now: 1 + 5 * math.exp(-now / 0.2))
    step_s, settled = machine.timer(warmup_s=60).warm_up(machine.process("c", 0.001))
    assert settled
    assert machine.now > 0.4  # while the steps still got faster it went on
    assert 0.001 <= step_s <= 0.00125


def test_a_step_that_still_gets_faster_has_not_settled_after_its_first_block():
    """From 51 to 15 ms: blocks of one step each, of which three are needed to compare."""
    machine = Machine(slowness=lambda now: 1 + 2.4 * math.exp(-now / 0.15))
    step_s, settled = machine.timer(warmup_s=60).warm_up(machine.process("c", 0.015))
    assert settled
    assert step_s == pytest.approx(0.015, rel=0.12)


def test_warm_up_that_does_not_settle_says_so():
    machine = Machine(slowness=lambda now: 1.5 + math.sin(20 * now))
    _, settled = machine.timer(warmup_s=1.0).warm_up(machine.process("c", 0.004))
    assert not settled
    assert 1.0 <= machine.now < 1.5


def test_a_slow_step_is_a_block_of_its_own():
    machine = Machine()
    machine.timer().alone(machine.process("c", 0.5))
    assert {count for _, count in machine.log} == {1}


def test_steps_longer_than_the_warm_up_are_not_said_to_have_settled():
    machine = Machine()
    assert machine.timer(warmup_s=2.0).warm_up(machine.process("c", 10.0)) == (10.0, False)
    assert machine.now == pytest.approx(10.0)  # a block


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
    assert timing.blocks >= BATCHES


def test_slow_steps_take_three_pairs_and_no_more():
    """Six blocks of each would take two minutes, whatever the budget says."""
    machine = Machine()
    slow, default = machine.process("c", 10.0), machine.process("d", 10.0)
    assert machine.timer(budget_s=4.0).against(slow, default).blocks == LEAST_PAIRS
    assert machine.timer(budget_s=4.0).alone(slow).blocks == LEAST_PAIRS


def test_slow_steps_take_one_block_each_in_a_round():
    machine = Machine()
    begin = machine.now
    found = machine.timer(budget_s=1.0).together(
        [machine.process("d", 10.0), machine.process("c", 10.0)], default=0
    )
    assert [timing.blocks for timing in found] == [1, 1]
    assert machine.now - begin == pytest.approx(40)  # a step of each to warm up, and the blocks


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
    alone = machine.timer(budget_s=2.0).together(processes[1:], default=None)
    assert [math.isnan(timing.speedup) for timing in alone] == [True, True]
    assert alone[1].seconds / alone[0].seconds == pytest.approx(4, rel=0.1)


def test_throughput_and_cpu_seconds_are_per_step():
    machine = Machine()
    timing = machine.timer(budget_s=1.0).alone(machine.process("one", 0.02))
    assert timing.throughput == pytest.approx(50)
    assert timing.cpu_seconds == pytest.approx(0.02)


def test_a_steady_machine_needs_no_more_than_two_windows():
    machine = Machine()
    timing = machine.timer(precision=0.04).against(
        machine.process("c", 0.03), machine.process("d", 0.03)
    )
    assert 2 * BATCHES <= timing.blocks <= 2 * (WINDOW_S / 0.06 + 1)


def test_what_the_hypervisor_takes_is_reported():
    machine = Machine()
    # It takes a fifth of the time from each CPU.
    timer = machine.timer(stolen=lambda: 0.2 * os.cpu_count() * machine.now)
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
    assert 2 * BATCHES <= timing.blocks < 4 * BATCHES
    assert timing.speedup_high < 0.8


def test_a_shared_drift_cancels():
    machine = Machine(seed=3, slowness=lambda now: 1 + 0.3 * math.sin(now))
    timing = machine.timer(budget_s=10, precision=1e-9).against(
        machine.process("c", 0.03, noise=0.01), machine.process("d", 0.036, noise=0.01)
    )
    assert timing.speedup == pytest.approx(1.2, rel=0.01)


def test_the_interval_carries_how_much_the_default_differs_from_trial_to_trial():
    """What one short visit shows is not what the next one does."""
    machine = Machine(seed=4, slowness=lambda now: 1.5 if now % 20 > 10 else 1.0)
    timer = machine.timer(budget_s=2.0)
    candidate, default = machine.process("c", 0.03), machine.process("d", 0.03)
    first = timer.against(candidate, default)
    for _ in range(8):
        machine.now += 4.9
        last = timer.against(candidate, default)
    assert math.log(first.speedup_high) == pytest.approx(1.96 * USUAL_SPREAD)
    assert math.log(last.speedup_high) > 1.96 * 0.15


def test_the_spread_of_a_session_is_learnt():
    assert session_spread([0.0]) == pytest.approx(USUAL_SPREAD)
    steady, wandering = [0.0] * 30, [0.0, 0.2] * 15
    assert session_spread(steady) < 0.4 * USUAL_SPREAD
    assert session_spread(wandering) == pytest.approx(0.1, rel=0.1)


# --- other work on the machine, and quotas -------------------------------------------------------


def busy(machine, since, until, cpus=1.0):
    """What other work has taken that runs between two moments."""
    return lambda: cpus * (min(max(machine.now, since), until) - since)


def slowed(since, until):
    """A machine on which the default's two threads get one CPU meanwhile."""
    return lambda now: 1.5 if since <= now < until else 1.0


def test_blocks_beside_other_work_are_left_out_and_measured_again():
    machine = Machine()
    timer = machine.timer(
        others=busy(machine, 1.0, 6.0), patience_s=60, budget_s=2.0, precision=1e-9
    )
    machine.slowness = slowed(1.0, 6.0)
    timing = timer.against(machine.process("c", 0.03), machine.process("d", 0.03))
    assert timing.seconds_p99 == pytest.approx(0.03)  # no slow step is left
    assert timing.others == pytest.approx(0.0)
    assert timing.beside == ""
    assert machine.now > 6.0


def test_patience_ends_and_the_result_says_who_was_there():
    machine = Machine()
    timer = machine.timer(others=busy(machine, 0.0, 1e9), patience_s=5.0, budget_s=2.0)
    timing = timer.alone(machine.process("c", 0.03))
    assert timing.others == pytest.approx(1.0, rel=0.1)
    assert timing.beside == "stress 1.0"
    waited = machine.now
    timer.alone(machine.process("c", 0.03))  # patience is not had anew while nothing changes
    assert machine.now - waited < 3.0


def test_quiet_gives_patience_back():
    machine = Machine()
    timer = machine.timer(others=busy(machine, 0.0, 4.0), patience_s=2.0, budget_s=5.0)
    assert timer.alone(machine.process("c", 0.03)).beside == "stress 1.0"
    machine.now = 100.0
    assert timer.alone(machine.process("c", 0.03)).beside == ""


def test_a_little_other_work_is_what_every_machine_has():
    machine = Machine()
    timer = machine.timer(others=lambda: 0.05 * machine.now, patience_s=60)
    timing = timer.alone(machine.process("c", 0.03))
    assert timing.others == pytest.approx(0.05)
    assert timing.beside == ""
    assert machine.now < 10


def test_what_is_not_counted_disturbs_nothing():
    machine = Machine()
    timing = machine.timer(others=lambda: math.nan, patience_s=60).alone(machine.process("c", 0.03))
    assert math.isnan(timing.others)
    assert timing.beside == ""


class Throttled(Machine):
    """Processes that share a quota of half of each period; a step wants two CPUs' time at once."""

    PERIOD_S = 0.1

    def __init__(self, folder, cpus):
        super().__init__()
        self.quota = Quota(cpus * self.PERIOD_S, self.PERIOD_S, folder / "cpu.max")
        self._period, self._left = 0, self.quota.allowed_s
        self._periods, self._throttled = set(), set()

    def process(self, _, step_s, *, threads):
        def step():
            work, begin = step_s * threads, self.now
            while work > 1e-12:
                if (now := int(self.now / self.PERIOD_S + 1e-9)) != self._period:
                    self._period, self._left = now, self.quota.allowed_s
                self._periods.add(self._period)
                end = (self._period + 1) * self.PERIOD_S
                done = min(work, self._left, threads * (end - self.now))
                work, self._left = work - done, self._left - done
                self.now += done / threads
                if self._left <= 1e-12 and work > 1e-12:
                    self._throttled.add(self._period)
                    self.now = end
            return self.now - begin

        def run(count):
            begin, times = self.now, [step() for _ in range(count)]
            self.tell()
            return steps(begin, times)

        return process(run)

    def tell(self):
        said = f"nr_periods {len(self._periods)}\nnr_throttled {len(self._throttled)}\n"
        (self.quota.path.parent / "cpu.stat").write_text(said + "throttled_usec 5000\n")


def test_under_a_quota_the_speed_up_is_the_ratio_of_each_alone(tmp_path):
    """Two threads on a quota of 1.2 CPUs stand still for 40 % of the time; one never does."""
    alone = []
    for threads in (1, 2):
        machine = Throttled(tmp_path, cpus=1.2)
        process = machine.process("one", 0.008 / threads**0.5, threads=threads)
        begin = machine.now
        process.run(2000)
        alone.append((machine.now - begin) / 2000)
    machine = Throttled(tmp_path, cpus=1.2)
    timing = machine.timer(quota=machine.quota, budget_s=6.0).against(
        machine.process("c", 0.008, threads=1), machine.process("d", 0.008 / 2**0.5, threads=2)
    )
    assert timing.speedup == pytest.approx(alone[1] / alone[0], rel=0.05)
    assert timing.seconds == pytest.approx(alone[0], rel=0.05)
    assert timing.default_seconds == pytest.approx(alone[1], rel=0.05)
    assert timing.throttled == pytest.approx(0.0, abs=0.05)
    assert timing.default_throttled > 0.6


def test_a_quota_that_is_not_reached_changes_nothing(tmp_path):
    machine = Throttled(tmp_path, cpus=2.0)
    timing = machine.timer(quota=machine.quota).against(
        machine.process("c", 0.01, threads=1), machine.process("d", 0.013, threads=2)
    )
    assert timing.speedup == pytest.approx(1.3, rel=0.02)
    assert timing.throttled == 0.0


def test_one_step_longer_than_all_periods_counts(tmp_path):
    machine = Throttled(tmp_path, cpus=1.0)
    timing = machine.timer(quota=machine.quota).alone(machine.process("c", 3.0, threads=2))
    assert timing.seconds == pytest.approx(6.0, rel=0.05)


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


def test_the_estimate_ignores_a_wild_block():
    rng = np.random.default_rng(5)
    candidate, default = 0.01 * rng.standard_normal((2, 36))
    wild = candidate.copy()
    wild[7] += 3
    centre = hodges_lehmann(default - candidate)
    assert hodges_lehmann(default - wild) == pytest.approx(centre, abs=0.005)
    assert batch_reach(default - wild) < 2 * batch_reach(default - candidate)


def test_hodges_lehmann_is_the_median_of_pairwise_means():
    assert hodges_lehmann(np.array([0.0, 1.0, 10.0])) == pytest.approx(3.0)


@pytest.mark.parametrize("name", ["warmup_s", "budget_s", "precision"])
@pytest.mark.parametrize("value", [0, -1, math.nan, True, "1"])
def test_options_must_be_positive_numbers(name, value):
    with pytest.raises(InvalidInputError, match=name):
        TimingOptions(**{name: value})


def test_patience_may_be_none_at_all(monkeypatch):
    assert TimingOptions(patience_s=0).patience_s == 0
    monkeypatch.setenv("KAMERTON_RAY_PATIENCE_S", "7")
    assert TimingOptions().patience_s == 7
    monkeypatch.delenv("KAMERTON_RAY_PATIENCE_S")
    assert TimingOptions().patience_s == 30
    monkeypatch.setenv("KAMERTON_RAY_PATIENCE_S", "soon")
    with pytest.raises(InvalidInputError, match="KAMERTON_RAY_PATIENCE_S must be a number"):
        TimingOptions()
    with pytest.raises(InvalidInputError, match="patience_s"):
        TimingOptions(patience_s=-1)
