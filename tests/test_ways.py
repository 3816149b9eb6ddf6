"""Clusters as users have them: jobs, Ray Client, shared storage, packages, or simply in the way."""

import importlib.util
import json
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import textwrap
import time
import venv
import zipfile
from pathlib import Path

import pytest
from cluster import Cluster

pytestmark = pytest.mark.cluster

needs_the_rest_of_ray = pytest.mark.skipif(
    not importlib.util.find_spec("aiohttp_cors"), reason="make test-cluster installs ray[default]"
)

TUNED = {"num_samples": 3, "metric": "seconds", "mode": "min"}

DRIVER = """
    import json, os, sys
    import ray
    from ray import tune
    from kamerton_ray import NelderMeadSearcher, benchmark, every_node
    from kamerton_ray.tune.trainable import command

    storage = os.environ["STORAGE"]
    space = {"intra_op": tune.randint(1, 5), "inter_op": tune.randint(1, 5)}

    def tell(trials):
        print(json.dumps([{"config": t.config, **t.last_result} for t in trials], default=repr))
"""


def free_port():
    """One that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture(scope="module")
def cluster():
    """A head without CPUs that serves jobs and Ray Client, and a node."""
    client, dashboard, agent = free_port(), free_port(), free_port()
    options = ["--include-dashboard=true", "--dashboard-host=0.0.0.0"]
    ports = [f"--ray-client-server-port={client}", f"--dashboard-port={dashboard}"]
    ports.append(f"--dashboard-agent-listen-port={agent}")  # jobs; the usual one may be taken
    with Cluster(*options, *ports) as made:
        made.client = f"ray://{made.head.ip}:{client}"
        made.jobs = f"http://{made.head.ip}:{dashboard}"
        made.add_node(2)
        yield made


def told(cluster, storage, code, **options):
    """What a driver with this code prints last."""
    script = textwrap.dedent(DRIVER) + textwrap.dedent(code)
    env = {**cluster.env, "STORAGE": storage, "RAY_AIR_NEW_OUTPUT": "0"}
    done = cluster.run(sys.executable, "-c", script, env=env, **options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@needs_the_rest_of_ray
def test_a_job_searches_with_the_command_line(cluster, tmp_path):
    (tmp_path / "program.py").write_text("print('in the job')")
    search = ["kamerton_ray.cli", "exec", "--address", "auto", "--trials", "3", "--no-compare"]
    for _ in range(20):
        done = cluster.run(
            *(sys.executable, "-m", "ray.scripts.scripts", "job", "submit"),
            *("--address", cluster.jobs, "--working-dir", tmp_path, "--", sys.executable, "-m"),
            *(*search, "--json", "--quiet", "--", sys.executable, "program.py"),
            cwd=tmp_path,
        )
        if "No available agent" not in done.stderr:  # the head's starts last
            break
        time.sleep(1)
    assert done.returncode == 0, done.stdout + done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("{"))
    assert json.loads(line)["trials"] == 3


def test_a_search_goes_through_ray_client(cluster, storage):
    results = told(
        cluster,
        storage,
        f"""
        for attempt in range(4):  # gRPC may hang in the process that Ray's proxy forks
            try:
                ray.init({cluster.client!r})
                break
            except ConnectionError:
                pass
        program = command([sys.executable, "-c", ""])
        options = every_node(NelderMeadSearcher())
        found = tune.run(
            program, config=space, **options, **{TUNED!r}, storage_path=storage, verbose=0
        )
        tell(found.trials)
        """,
    )
    assert [one["outcome"] for one in results] == ["ok"] * 3


@needs_the_rest_of_ray
def test_packages_of_a_runtime_environment_are_there(cluster, storage, tmp_path):
    wheel = tmp_path / "told-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        about = "told-1.0.dist-info"
        file.writestr("told.py", "VALUE = 7")
        file.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: told\nVersion: 1.0\n")
        file.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        file.writestr(f"{about}/RECORD", "")
    results = told(
        cluster,
        storage,
        f"""
        def build():
            import told

            raise RuntimeError(f"it is {{told.VALUE}}")

        ray.init(runtime_env={{"pip": [{str(wheel)!r}]}})
        found = tune.run(
            benchmark(build), config=space, search_alg=NelderMeadSearcher(), **{TUNED!r},
            storage_path=storage, verbose=0, reuse_actors=True, raise_on_failed_trial=False,
        )
        tell(found.trials)
        """,
    )
    assert {one["error"].splitlines()[-1] for one in results} == {"RuntimeError: it is 7"}


def test_a_node_whose_python_lies_elsewhere_runs_trials_with_it(cluster, storage, tmp_path):
    venv.create(tmp_path / "elsewhere", symlinks=True)
    python = tmp_path / "elsewhere" / "bin" / "python"
    packages = next((tmp_path / "elsewhere" / "lib").glob("python*/site-packages"))
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    node = cluster.add_node(2, python=python, env={"ELSEWHERE": "1"}, resources={"elsewhere": 1})
    try:
        results = told(
            cluster,
            storage,
            f"""
            def build():
                raise RuntimeError(sys.executable)

            ray.init()
            request = tune.PlacementGroupFactory([{{"CPU": 1, "elsewhere": 1}}])
            found = tune.run(
                tune.with_resources(benchmark(build), request), config=space,
                search_alg=NelderMeadSearcher(), **{TUNED!r}, storage_path=storage, verbose=0,
                reuse_actors=True, raise_on_failed_trial=False,
            )
            tell(found.trials)
            """,
        )
    finally:
        cluster.kill_node(node)
    assert {one["error"].splitlines()[-1] for one in results} == {f"RuntimeError: {python}"}


RESTORED = """
    ray.init(os.environ["RAY_ADDRESS"])
    name, log = "shared", os.path.join(storage, "log")
    os.makedirs(storage, exist_ok=True)

    def trial(config):
        import time

        time.sleep(0.7)
        with open(log, "a") as file:
            print(config["intra_op"], config["inter_op"], file=file)
        return {"seconds": config["intra_op"] + config["inter_op"]}

    path = os.path.join(storage, name)
    if tune.Tuner.can_restore(path):
        tuner = tune.Tuner.restore(path, trial)
    else:
        tuner = tune.Tuner(
            trial,
            param_space=space,
            tune_config=tune.TuneConfig(
                metric="seconds", mode="min", num_samples=12,
                **every_node(NelderMeadSearcher(patience=12)),
            ),
            run_config=tune.RunConfig(name=name, storage_path=storage, verbose=0),
        )
    print(json.dumps([[one.config, one.metrics["seconds"]] for one in tuner.fit()]))
"""


def test_another_machine_goes_on_from_shared_storage(cluster, storage):
    script = textwrap.dedent(DRIVER) + textwrap.dedent(RESTORED)
    env = {**cluster.env, "STORAGE": storage, "TUNE_GLOBAL_CHECKPOINT_S": "0.5"}
    log = Path(storage, "log")
    first = subprocess.Popen(
        [sys.executable, "-c", script],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not log.exists() or len(log.read_text().splitlines()) < 4:
        assert first.poll() is None
        time.sleep(0.05)
    time.sleep(1.5)  # for Tune to write down what it knows
    first.send_signal(signal.SIGKILL)
    first.wait()
    there = next(node for node in cluster.nodes if node is not cluster.head)
    done = cluster.run(*cluster.network.inside(there.place), sys.executable, "-c", script, env=env)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout.splitlines()[-1])
    assert len(results) == 12
    ran = [tuple(int(part) for part in line.split()) for line in log.read_text().splitlines()]
    assert {(one["intra_op"], one["inter_op"]) for one, _ in results} == set(ran)
    assert len(ran) <= 12 + 2  # those that ran when the driver died


# --- a Ray that runs here, or did, is not ours ----------------------------------------------------

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "tests" / "test_examples.py"

ON_THEIR_OWN = {
    "the command line": "-m kamerton_ray.cli exec --trials 1 --no-compare --quiet -- true",
    "an example": f"{ROOT / 'examples' / 'quadratic.py'}",
    "a test": f"-m pytest -m docs -q -p no:cacheprovider {EXAMPLES} -k runs[1]",
}


@pytest.fixture(scope="module", params=["running", "gone"])
def another(request):
    """What Ray finds of a cluster that was started here: its address, in Ray's folder."""
    with tempfile.TemporaryDirectory(prefix="kr-", dir="/tmp") as folder:
        (Path(folder) / "ray").mkdir()
        with Cluster() as cluster:
            (Path(folder) / "ray" / "ray_current_cluster").write_text(cluster.address)
            if request.param == "gone":
                cluster.close()
            yield {**cluster.env, "RAY_TMPDIR": folder, "RAY_ADDRESS": ""}


@pytest.mark.parametrize("arguments", ON_THEIR_OWN.values(), ids=ON_THEIR_OWN)
def test_a_ray_that_was_started_before_is_left_alone(arguments, another, tmp_path):
    # It has no CPUs, so whoever took it would wait for ever.
    done = subprocess.run(
        [sys.executable, *arguments.split()],
        cwd=tmp_path,
        env=another,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
