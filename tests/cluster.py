"""A real Ray cluster of several nodes on this machine, started as users start one.

Each node is a `ray start` with processes of its own, which can be killed. With root on Linux it
lives in a network namespace with an address of its own on a bridge; otherwise all share loopback,
each with another of its addresses.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

START_S = 240
"""How long a node may take to join on a busy machine."""

MARK = "KAMERTON_RAY_TEST_NODE"
"""The variable by which a node's processes are known, whatever becomes of their parents."""

RAY = ["-m", "ray.scripts.scripts"]

TIMES = {
    "RAY_raylet_start_wait_time_s": str(START_S),
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "5",
}
"""A busy machine's nodes may start slowly, and answer slowly meanwhile. The head takes some five
seconds to notice one that was killed, where its defaults take fifteen."""


class Node:
    """One node.

    Attributes:
        ip: Its address.
        mark: What its processes are known by.
        place: Where it is in the network, for `network.inside`.
    """

    def __init__(self, cluster, ip, options, env, python):
        self.ip = ip
        self.mark = uuid.uuid4().hex
        self.place = cluster.network.place(ip)
        self._log, self._temp = cluster.folder / f"{ip}.log", cluster.folder / ip
        self._command = [
            *cluster.network.inside(self.place),
            python,
            *RAY,
            "start",
            f"--node-ip-address={ip}",
            f"--temp-dir={self._temp}",
            "--object-store-memory=100000000",
            "--disable-usage-stats",
            "--block",
            *options,
        ]
        self._env = {**env, MARK: self.mark}
        self._start()

    def _start(self):
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                start_new_session=True,
            )

    def pids(self):
        """The ids of all its processes: `ray start`, the raylet, workers, and what they started."""
        mine = f"{MARK}={self.mark}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if mine in (entry / "environ").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
        return found

    def pids_of(self, part):
        """Those of them whose command line holds `part`, as `raylet/raylet` or `gcs_server`."""
        found = []
        for pid in self.pids():
            with contextlib.suppress(OSError):
                line = Path("/proc", str(pid), "cmdline").read_bytes().replace(b"\0", b" ")
                if part in line.decode(errors="replace"):
                    found.append(pid)
        return found

    def log(self):
        """What `ray start` has said."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def started(self):
        """Wait until it has joined the cluster, or is the head of one; its whole log then.

        Raises:
            RuntimeError: It has not.
        """
        deadline = time.monotonic() + START_S
        without = 0
        while time.monotonic() < deadline and self.process.poll() is None:
            if "Ray runtime started" in (log := self.log()):
                return log
            # On a busy machine its agents may be too slow for the raylet, and `ray start` waits on.
            began = any(self._temp.glob("session_*/logs/raylet.out"))
            without = without + 1 if began and not self.pids_of("raylet/raylet") else 0
            if without > 2:
                self.kill()
                shutil.rmtree(self._temp, ignore_errors=True)
                self._start()
            time.sleep(0.3)
        raise RuntimeError(f"the node {self.ip} did not start:\n{self.log()}")

    def kill(self):
        """End every process of it by SIGKILL, as when the machine is switched off."""
        while pids := self.pids():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.poll()
            time.sleep(0.02)
        self.process.wait()


class Cluster:
    """A head without CPUs, and the nodes that are added.

    Args:
        head: Further options for the head's `ray start`; without `--num-cpus` it has none.
        env: Variables for every node beside this process's own.
        token: The authentication token that every node and driver needs; None for none.

    Attributes:
        address: What `ray.init` takes.
        env: The environment for drivers in other processes.
    """

    def __init__(self, *head, env=None, token=None):
        self.folder = Path(tempfile.mkdtemp(prefix="kr-", dir="/tmp"))  # sockets need short paths
        self.network = _network()
        auth = {"RAY_AUTH_MODE": "disabled"} if token is None else _with_token(token)
        self._env = {**_plain_environment(), **auth, **TIMES, **(env or {})}
        self.nodes = []
        try:
            options = ["--head", "--port=0", *head]
            if not any(option.startswith("--num-cpus") for option in options):
                options.append("--num-cpus=0")
            if not any(option.startswith("--include-dashboard") for option in options):
                options.append("--include-dashboard=false")
            self.head = self._start(options)
            self.address = re.search(r"address='([0-9.]+:[0-9]+)'", self.head.started())[1]
        except BaseException:
            self.close()
            raise
        self.env = {**self._env, "RAY_ADDRESS": self.address}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def add_node(
        self,
        cpus=2,
        *options,
        resources=None,
        env=None,
        wait=True,
        python=sys.executable,
    ):
        """Start a node that joins, and wait until it has.

        Args:
            cpus: How many CPUs it says it has.
            options: Further ones for `ray start`.
            resources: Its custom resources.
            env: Variables of its own.
            wait: Whether to wait; otherwise `node.started()` does later.
            python: The interpreter that it is started with.
        """
        node = self._start(
            [
                f"--address={self.address}",
                f"--num-cpus={cpus}",
                f"--resources={json.dumps(resources or {})}",
                *options,
            ],
            env or {},
            python,
        )
        if wait:
            node.started()
        return node

    def kill_node(self, node):
        """Switch a node off: every process of it gets SIGKILL, and its address is gone."""
        node.kill()
        self.network.remove(node.ip)
        self.nodes.remove(node)

    def restart_gcs(self, *, down=2.0):
        """Kill the head's GCS, and start it again a while later as it was started before.

        It finds what it knew where the head keeps that in Redis and has a port of its own choice.
        """
        (gcs,) = self.head.pids_of("gcs_server")
        argv, env = (
            [part.decode() for part in Path("/proc", str(gcs), name).read_bytes().split(b"\0")[:-1]]
            for name in ("cmdline", "environ")
        )
        self.head.process.send_signal(signal.SIGSTOP)  # `ray start --block` would end the head
        os.kill(gcs, signal.SIGKILL)
        time.sleep(down)
        subprocess.Popen(
            argv,
            env=dict(one.partition("=")[::2] for one in env),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def run(self, *argv, timeout=300, **options):
        """Run a driver or a tool in a process of its own, in the cluster's environment."""
        options = {"env": self.env, "capture_output": True, "text": True, **options}
        return subprocess.run([str(one) for one in argv], timeout=timeout, check=False, **options)

    def close(self):
        """End every node, and leave nothing behind."""
        for node in [*reversed(self.nodes)]:
            self.kill_node(node)
        self.network.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, options, env=None, python=sys.executable):
        node = Node(self, self.network.next_ip(), options, {**self._env, **(env or {})}, python)
        self.nodes.append(node)
        return node


def _plain_environment():
    """This process's, without what would lead to another Ray."""
    foreign = ("RAY_ADDRESS", "RAY_AUTH", "RAY_NAMESPACE")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


def _with_token(token):
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}


class Loopback:
    """All nodes on loopback, each with another address of it."""

    def __init__(self):
        self._last = 0

    def next_ip(self):
        """The next node's address; the head's is this machine's usual one."""
        self._last += 1
        return f"127.0.0.{self._last}"

    def place(self, _ip):
        """There is nothing to prepare."""

    def inside(self, _place):
        """The command that runs a command there."""
        return []

    def remove(self, _ip):
        """There is nothing to remove."""

    def close(self):
        """There is nothing to remove."""


class Bridge:
    """A bridge that the nodes' network namespaces are plugged into; the head is on this side.

    Raises:
        OSError: Making one needs root and iproute2.
    """

    def __init__(self):
        self.number = next((n for n in range(256) if _ip(f"link add krb{n} type bridge")), None)
        if self.number is None:
            raise OSError("a bridge cannot be made")
        self._last = 0
        self._namespaces = {}
        with contextlib.ExitStack() as stack:
            stack.callback(self.close)
            _must(f"addr add {self._address(1)}/24 dev krb{self.number}")
            _must(f"link set krb{self.number} up")
            self.place(self._address(254))  # where namespaces cannot be made, say so now
            self.remove(self._address(254))
            stack.pop_all()

    def _address(self, last):
        return f"10.201.{self.number}.{last}"

    def next_ip(self):
        """The next node's address; the first is the head's."""
        self._last += 1
        return self._address(self._last)

    def place(self, ip):
        """Make the namespace that has this address; None for the head, which needs none."""
        last = int(ip.rpartition(".")[2])
        if last == 1:
            return None
        name, veth = f"kr{self.number}-{last}", f"krv{self.number}-{last}"
        self._namespaces[ip] = name
        _must(f"netns add {name}")
        _must(f"link add {veth} type veth peer name eth0 netns {name}")
        _must(f"link set {veth} master krb{self.number} up")
        _must(f"-n {name} addr add {ip}/24 dev eth0")
        _must(f"-n {name} link set eth0 up")
        _must(f"-n {name} link set lo up")
        return name

    def inside(self, place):
        """The command that runs a command there."""
        # `ip netns exec` would hide /sys/fs/cgroup.
        return [] if place is None else ["nsenter", f"--net=/run/netns/{place}"]

    def cut(self, ip, *, off=True):
        """Pull a node's cable, or plug it in again."""
        _ip(f"link set krv{self.number}-{ip.rpartition('.')[2]} {'down' if off else 'up'}")

    def remove(self, ip):
        """Remove a node's namespace, and its cable with it."""
        if name := self._namespaces.pop(ip, None):
            _ip(f"link del krv{self.number}-{ip.rpartition('.')[2]}")
            _ip(f"netns del {name}")

    def close(self):
        """Remove everything."""
        for ip in list(self._namespaces):
            self.remove(ip)
        _ip(f"link del krb{self.number}")


def _network():
    if shutil.which("ip") and shutil.which("nsenter"):
        with contextlib.suppress(OSError):
            return Bridge()
    return Loopback()


def _ip(arguments):
    """Whether `ip` did it."""
    return (
        subprocess.run(["ip", *arguments.split()], capture_output=True, check=False).returncode == 0
    )


def _must(arguments):
    if not _ip(arguments):
        raise OSError(f"ip {arguments} failed")
