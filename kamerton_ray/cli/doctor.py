"""What this machine offers TensorFlow, and what to mend before tuning."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kamerton_ray.machine.cgroups import HELD_BACK, Quota, Throttling, read, tightest_quota
from kamerton_ray.machine.cpus import UsableCpus, usable_cpus
from kamerton_ray.machine.knobs import AARCH64, ONEDNN, onednn_default, wants_onednn
from kamerton_ray.machine.neighbours import Reading, command_lines, look
from kamerton_ray.machine.software import version
from kamerton_ray.machine.threads import default_counts
from kamerton_ray.machine.topology import topology

VARIABLES = (
    *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "TF_ENABLE_ONEDNN_OPTS"),
    *("OMP_NUM_THREADS", "OMP_PROC_BIND", "OMP_PLACES", "KMP_AFFINITY", "KMP_BLOCKTIME"),
    *("MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_XLA_FLAGS", "MALLOC_ARENA_MAX", "LD_PRELOAD"),
    *("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"),
)
"""What changes how many threads compute, or where, or with how many bits."""

EXACT = "strict"
"""With this oneDNN keeps every bit; it is the default (oneDNN, src/common/fpmath_mode.cpp)."""

OF_GRAVITON = ", and AWS's images for Graviton set it"

ONEDNN_BY_DEFAULT = {
    "on": "on by default",
    "off": "off by default on this CPU; --also onednn tries it",
    "unsure": "on by default in some versions on this CPU; --also onednn tries both",
}

ONE_NODE = (
    "Memory of another NUMA node is slower: for the best step time tune under "
    "`numactl --cpunodebind=0 --membind=0`, one instance a node."
)
"""The advice for a machine with several NUMA nodes."""

SERVER, REST = "tensorflow_model_server", "--rest_api_num_threads"
"""TensorFlow Serving's program, and its option for the threads of HTTP."""

NEEDED = {"tensorflow": "tensorflow", "ray": "'ray[tune]'"}
"""What has to be installed, and how pip is asked for it."""


@dataclass(frozen=True)
class Finding:
    """One thing the doctor has looked at.

    Attributes:
        name: What it is.
        found: What was found.
        advice: What to mend before tuning; empty where nothing is wrong.
    """

    name: str
    found: str
    advice: str = ""


def examine(
    *,
    root: Path = Path("/"),
    env: Mapping[str, str] | None = None,
    look: Callable[[], tuple[Reading, str]] = look,
    servers: Callable[[], dict[int, list[str]]] = lambda: command_lines(SERVER),
) -> list[Finding]:
    """Look at this machine, without importing TensorFlow or Ray; it takes half a second.

    Args:
        root: Where the file systems proc and sys are mounted.
        env: The environment; this process's by default.
        look: Says what other work takes just now, and who.
        servers: The command lines of TensorFlow Serving's processes, by their ids.
    """
    env = os.environ if env is None else env
    cpus, quota = usable_cpus(root=root), tightest_quota(root)
    before = quota.throttling() if quota else Throttling(0, 0, 0.0)
    looked = look()
    return [
        Finding(
            "system",
            f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        ),
        _usable(cpus),
        _topology(root),
        _tensorflow_default(cpus, env),
        _ray(cpus, env),
        _versions(env),
        _variables(env),
        *([] if quota is None else [_quota(quota, before)]),
        *_servers(cpus, servers()),
        _other_work(looked),
    ]


def as_text(findings: Sequence[Finding]) -> str:
    """What was found, what to mend, and what to do next, for a terminal."""
    found = [f"{one.name:<20} " + one.found.replace("\n", "\n" + " " * 21) for one in findings]
    advice = [f"- {one.advice}" for one in findings if one.advice]
    heading = "Before tuning:" if advice else "Nothing to mend."
    following = "Next: kamerton-ray exec -- python my_program.py"
    return "\n".join([*found, "", heading, *advice, "", following])


def _usable(cpus: UsableCpus) -> Finding:
    return Finding("usable CPUs", str(cpus))


def _topology(root: Path) -> Finding:
    """Cores, their threads, sockets and NUMA nodes, from Linux's sysfs."""
    system = root / "sys/devices/system"
    logical = sorted((system / "cpu").glob("cpu[0-9]*/topology"))
    if not logical:
        return Finding("topology", "not to be found in sysfs")
    cores = {(read(one / "physical_package_id"), read(one / "core_id")) for one in logical}
    sockets = {socket for socket, _ in cores}
    nodes = len(list((system / "node").glob("node[0-9]*")))
    numbers = [int(one.parent.name.removeprefix("cpu")) for one in logical]
    slower = sum(cpu.slower > 0 for cpu in topology(root, among=numbers))
    found = (
        f"{len(logical)} logical CPUs on {len(cores)} cores, {len(sockets)} sockets, "
        f"{max(nodes, 1)} NUMA nodes, SMT {'on' if len(logical) > len(cores) else 'off'}"
    ) + (f"; {slower} of the CPUs are slower ones" if slower else "")
    return Finding("topology", found, ONE_NODE if nodes > 1 else "")


def _tensorflow_default(cpus: UsableCpus, env: Mapping[str, str]) -> Finding:
    """TensorFlow counts the affinity mask and knows no quota (tsl/platform/default/port.cc)."""
    affinity = next((limit.cpus for limit in cpus.limits if "affinity" in limit.source), cpus.count)
    counts = default_counts(env, int(affinity))
    advice = ""
    if cpus.count < affinity:
        advice = (
            f"The quota gives {cpus.count} CPUs but the affinity {affinity:g}: by default "
            f"TensorFlow starts {affinity:g} threads, which the quota stops in turn. Set the "
            "counts, or the affinity (a cpuset)."
        )
    return Finding(
        "TensorFlow's default", f"intra_op={counts.intra_op} inter_op={counts.inter_op}", advice
    )


def _ray(cpus: UsableCpus, env: Mapping[str, str]) -> Finding:
    """What a local Ray would offer its trials.

    It counts the machine's CPUs and knows a quota, whose fraction it drops, but not the affinity
    (ray/_private/utils.py, `get_num_cpus`).
    """
    quotas = [max(1, int(limit.cpus)) for limit in cpus.limits if "quota" in limit.source]
    count = min([os.cpu_count() or 1, *quotas])
    advice = ""
    if count > cpus.count:
        advice = (
            f"Ray counts {count} CPUs, of which {cpus.count} can be used: start it with "
            f"--num-cpus={cpus.count} on a cluster, or it places too much here."
        )
    found = f"{count} CPUs on this machine"
    if "RAY_ADDRESS" in env:
        found += f"; the cluster at {env['RAY_ADDRESS']} is used with --address auto alone"
    return Finding("Ray believes in", found, advice)


def _versions(env: Mapping[str, str]) -> Finding:
    found = {name: version(name) for name in (*NEEDED, "kamerton_ray")}
    versions = ", ".join(f"{name} {number or 'is missing'}" for name, number in found.items())
    said = env.get(ONEDNN, "")
    switched = "switched on" if wants_onednn(said) else "switched off"
    onednn = switched if said else ONEDNN_BY_DEFAULT[onednn_default()]
    missing = [package for name, package in NEEDED.items() if not found[name]]
    advice = f"Install what is missing: pip install {' '.join(missing)}" if missing else ""
    return Finding("versions", f"{versions}; oneDNN {onednn}", advice)


def _variables(env: Mapping[str, str]) -> Finding:
    found = {name: env[name] for name in VARIABLES if name in env}
    if not found:
        return Finding("thread variables", "none set")
    pairs = " ".join(f"{name}={value}" for name, value in found.items())
    pinned = [name for name in found if name.startswith("TF_NUM_")]
    advice = []
    if pinned:
        advice.append(f"Unset {' and '.join(pinned)}: it takes the place of TensorFlow's default.")
    if "OMP_NUM_THREADS" in found:
        advice.append(
            "OMP_NUM_THREADS limits some of oneDNN's builds beside the counts that are tuned"
            f"{OF_GRAVITON if platform.machine() == AARCH64 else ''}; "
            "unset it, or tune it with --knob."
        )
    if "MALLOC_ARENA_MAX" in found:
        advice.append(
            "MALLOC_ARENA_MAX has the threads share few heaps and wait for each other; unset it, "
            "or tune it with --knob."
        )
    advice += [
        f"{name}={value} changes results: oneDNN may round numbers. Unset it, unless you want that."
        for name, value in found.items()
        if name.endswith("_FPMATH_MODE") and value.lower() != EXACT
    ]
    return Finding("thread variables", pairs, "\n- ".join(advice))


def _other_work(looked: tuple[Reading, str]) -> Finding:
    """Who else takes CPUs just now; the load of the last minute would count what has ended."""
    reading, names = looked
    if math.isnan(reading.cpus):
        return Finding("other work", "this system does not count it")
    found = f"{reading.cpus:.2f} CPUs" + (f": {names}" if names else "")
    advice = ""
    if reading.disturbed:
        advice = (
            f"Other work takes {reading.cpus:.1f} CPUs: end it, or tune later. Trials wait for it "
            "to end, and an answer found beside it says so. For such an answer: --shared."
        )
    return Finding("other work", found, advice)


def _quota(quota: Quota, before: Throttling) -> Finding:
    """How much a CPU quota has stopped this process and its neighbours in the container."""
    now = quota.throttling()
    found = (
        f"{quota.cpus:g} CPUs, in periods of {1e3 * quota.period_s:g} ms, {now.share:.0%} of which "
        f"have used it up so far; {quota.held_back(now):.0%} of the CPU time asked for had to wait"
    )
    advice, rises = "", quota.held_back(now - before) > HELD_BACK
    if rises or quota.held_back(now) > HELD_BACK:
        rising = "stops" if rises else "has often stopped"
        advice = (
            f"The CPU quota {rising} what runs here: it has more busy threads than CPUs. Cap them: "
            "kamerton-ray exec --no-search -- PROGRAM."
        )
    return Finding("CPU quota", found, advice)


def _servers(cpus: UsableCpus, servers: Mapping[int, Sequence[str]]) -> list[Finding]:
    """TensorFlow Serving's threads for HTTP: four for each CPU that it sees, whatever the quota.

    (tensorflow_serving/model_servers/main.cc, `rest_api_num_threads`)
    """
    if not servers:
        return []
    seen = 4 * (os.cpu_count() or 1)
    usual = [pid for pid, line in servers.items() if not any(REST in word for word in line)]
    found = ", ".join(f"process {pid}" for pid in servers)
    advice = ""
    if usual and seen > 4 * cpus.count:
        advice = (
            f"TensorFlow Serving starts {seen} threads for HTTP where {cpus.count} CPUs can be "
            f"used: say {REST}={4 * cpus.count}."
        )
    return [Finding("TensorFlow Serving", found, advice)]
