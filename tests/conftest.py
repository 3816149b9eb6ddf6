"""One Ray cluster for the whole test session, and storage that goes with the test."""

import os
import signal

import pytest

HANG_S = 400  # no test takes half of it

# Tests look at results, not at CSV files and TensorBoard.
os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
# A test's driver needs a worker or two, not one for each CPU at once.
os.environ.update(RAY_prestart_worker_first_driver="0", RAY_enable_worker_prestart="0")
# Tests run beside each other: waiting for a quiet machine would be waiting for the other tests.
os.environ["KAMERTON_RAY_PATIENCE_S"] = "0"


def pytest_collection_modifyitems(items):
    """Tests with Ray last longest: they come first, so that all workers end at the same time."""
    items.sort(key=lambda item: "ray_cluster" not in item.fixturenames)


@pytest.fixture(scope="session")
def ray_cluster():
    """A local Ray with two CPU slots, shared by every test that asks for it.

    It does without the processes that add nodes and collect logs.
    """
    import ray
    from ray.cluster_utils import Cluster

    lean = {"include_dashboard": False, "no_monitor": True, "include_log_monitor": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, **lean})
    ray.init(cluster.address, log_to_driver=False)
    yield ray
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def storage(tmp_path):
    """Where a run writes its results; it is removed with the test."""
    return str(tmp_path / "results")


@pytest.fixture(autouse=True)
def no_hang():
    """Fail a test that hangs: Ray asks a searcher that has nothing to say for ever."""

    def give_up(*_):
        raise TimeoutError(f"the test did not end within {HANG_S} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(HANG_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
