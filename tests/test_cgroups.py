"""What a cgroup's files say of its quota, and of how often that held processes up."""

import pytest

from kamerton_ray.machine.cgroups import Throttling, quotas, tightest_quota

V1 = {
    "proc/self/cgroup": "4:cpu,cpuacct:/a/b\n",
    "sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us": "150000\n",
    "sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us": "50000\n",
    "sys/fs/cgroup/cpu/a/b/cpu.stat": "nr_periods 10\nnr_throttled 4\nthrottled_time 2500000000\n",
    "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "50000\n",
    "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/cpu/a/cpu.stat": "nr_periods 20\nnr_throttled 15\nthrottled_time 1000000000\n",
}
V2 = {
    "proc/self/cgroup": "0::/a\n",
    "sys/fs/cgroup/a/cpu.max": "100000 100000\n",
    "sys/fs/cgroup/a/cpu.stat": (
        "usage_usec 9\nnr_periods 1682\nnr_throttled 1219\nthrottled_usec 2500000\nnr_bursts 0\n"
    ),
}


@pytest.fixture
def machine(tmp_path):
    def make(files):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return make


def test_of_nested_quotas_the_tightest_counts(machine):
    root = machine(V1)
    assert [quota.cpus for quota in quotas(root)] == pytest.approx([3.0, 0.5])
    quota = tightest_quota(root)
    assert (quota.cpus, quota.period_s) == pytest.approx((0.5, 0.1))
    assert quota.throttling() == Throttling(20, 15, 1.0)


def test_version_2_counts_in_microseconds(machine):
    quota = tightest_quota(machine(V2))
    assert quota.throttling() == Throttling(1682, 1219, 2.5)
    assert quota.throttling().share == pytest.approx(0.72, abs=0.01)
    # 2.5 s stood still beside 1682 periods of 0.1 CPU seconds.
    assert quota.held_back(quota.throttling()) == pytest.approx(2.5 / 170.7, abs=1e-4)


def test_what_happened_meanwhile_is_a_difference(machine):
    root = machine(V2)
    quota = tightest_quota(root)
    before = quota.throttling()
    machine({"sys/fs/cgroup/a/cpu.stat": "nr_periods 1692\nnr_throttled 1224\n"})
    assert (quota.throttling() - before).share == 0.5
    assert (before - before).share == quota.held_back(before - before) == 0.0


def test_without_a_quota_there_is_none(machine):
    assert tightest_quota(machine({"proc/self/cgroup": "0::/\n"})) is None


@pytest.mark.parametrize("text", ["", "nonsense\n", "nr_periods\n", "nr_periods x\n1 2 3\n"])
def test_a_file_that_says_nothing_counts_nothing(machine, text):
    quota = tightest_quota(machine(V2 | {"sys/fs/cgroup/a/cpu.stat": text}))
    assert quota.throttling() == Throttling(0, 0, 0.0)
