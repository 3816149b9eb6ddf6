"""Runs that are killed, interrupted or partly failed, and then resumed."""

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ray import cloudpickle, tune

from kamerton_ray import NelderMeadSearcher, StopRule

SCRIPT = Path(__file__).parent / "scripts" / "resumable.py"
SNAPSHOT_S = 1.0

SHARED = pytest.mark.xdist_group("killed run")
"""Tests that resume the same run are run by the same worker, which makes it once."""


def load_script():
    spec = importlib.util.spec_from_file_location("resumable", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["resumable"] = module
    spec.loader.exec_module(module)
    cloudpickle.register_pickle_by_value(module)
    return module


resumable = load_script()
# Ray's workers cannot import a test file: they get what is in it by value.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def snapshot(experiment):
    """The trials in the latest state that Ray wrote, as (id, status, last result)."""
    path = max(experiment.glob("experiment_state-*.json"))
    trials = []
    for described, measured in json.loads(path.read_text())["trial_data"]:
        trial = json.loads(described)
        result = json.loads(measured)["last_result"]
        trials.append((trial["trial_id"], trial["status"], result))
    return trials


def finished(experiment):
    """What the finished trials reported, by id; a trial that is run again has another time."""
    return {
        trial: (result["loss"], result["timestamp"], result["pid"])
        for trial, status, result in snapshot(experiment)
        if status == "TERMINATED" and "loss" in result
    }


def wait_until(holds, process):
    """Wait for a condition on files that the process is writing."""
    while process.poll() is None:
        with contextlib.suppress(ValueError, KeyError, OSError):
            if holds():
                return
        time.sleep(0.02)
    raise AssertionError("the run ended before it was interrupted")


def session_of(leader):
    """The processes in the session that `leader` began."""
    members = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(ValueError, OSError):
            if os.getsid(int(process.name)) == leader:
                members.append(int(process.name))
    return members


@contextlib.contextmanager
def started_run(directory, cluster):
    """The script in a session of its own, of which nothing is left at the end."""
    address = cluster.get_runtime_context().gcs_address
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(directory), address],
        start_new_session=True,
        env={**os.environ, "TUNE_GLOBAL_CHECKPOINT_S": str(SNAPSHOT_S)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        while members := session_of(process.pid):
            for member in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(member, signal.SIGKILL)
            process.poll()
            time.sleep(0.05)


def wait_for_trials(directory, count, process):
    """Wait for a snapshot with so many finished trials and one unfinished, just written."""
    experiment = directory / resumable.NAME

    def stamp():
        return max(path.stat().st_mtime_ns for path in experiment.glob("*_state-*"))

    def in_the_middle():
        statuses = [status for _, status, _ in snapshot(experiment)]
        return statuses.count("TERMINATED") >= count and len(set(statuses)) > 1

    wait_until(in_the_middle, process)
    seen = stamp()
    wait_until(lambda: stamp() != seen and in_the_middle(), process)
    time.sleep(SNAPSHOT_S / 4)  # Ray copies the files one by one


def resume(experiment, **options):
    """Resume a run to its end; the results and the searcher."""
    tuner = tune.Tuner.restore(str(experiment), trainable=resumable.simulated, **options)
    results = tuner.fit()
    return results, tuner._local_tuner._tune_config.search_alg


@pytest.fixture(scope="module")
def killed_run(tmp_path_factory, ray_cluster):
    """The directory of a run that was killed in the middle."""
    directory = tmp_path_factory.mktemp("killed")
    with started_run(directory, ray_cluster) as process:
        wait_for_trials(directory, 5, process)
        process.kill()
        process.wait()
    experiment = directory / resumable.NAME
    statuses = [status for _, status, _ in snapshot(experiment)]
    assert statuses.count("TERMINATED") >= 5
    assert len(set(statuses)) > 1, "no trial was open when the run was killed"
    return experiment


@pytest.fixture
def killed(killed_run, tmp_path, ray_cluster):
    """The directory of the killed run, for one test to resume in."""
    kept = shutil.copytree(killed_run, tmp_path / "kept")
    yield killed_run
    shutil.rmtree(killed_run)
    shutil.move(kept, killed_run)
    # Ray would find there what the last test left when the same run is restored again.
    session = Path(ray_cluster._private.worker._global_node.get_session_dir_path())
    shutil.rmtree(session / "artifacts")


def uninterrupted():
    """The end point of the run that nobody interrupts."""
    searcher = NelderMeadSearcher(resumable.SPACE, "loss", "min", [resumable.START])
    while isinstance(config := searcher.suggest("t"), dict):
        loss = (config["x"] - 5) ** 2 + (config["y"] - 7) ** 2
        searcher.on_trial_complete("t", {"loss": loss})
    return searcher.best.config


@SHARED
def test_a_killed_run_resumes_without_losing_or_repeating_a_finished_trial(killed):
    before = finished(killed)
    results, searcher = resume(killed)
    after = finished(killed)
    assert before.items() <= after.items()
    assert results.get_best_result().config == resumable.LOWEST == uninterrupted()
    assert searcher.stopped_by is StopRule.CONVERGED
    assert searcher.best.value == 0.0


@SHARED
def test_a_killed_run_resumes_its_open_trials_under_their_ids(killed):
    opened = {trial for trial, status, _ in snapshot(killed) if status != "TERMINATED"}
    results, _ = resume(killed, param_space=resumable.SPACE)
    assert opened <= set(finished(killed))
    tried = [(result.config["x"], result.config["y"]) for result in results]
    assert len(set(tried)) == len(tried)


@SHARED
def test_a_killed_run_whose_open_trials_are_skipped_does_not_hang(killed):  # T3
    before = {trial: result.get("timestamp") for trial, _, result in snapshot(killed)}
    results, searcher = resume(killed, resume_unfinished=False)
    after = {trial: result.get("timestamp") for trial, _, result in snapshot(killed)}
    assert before.items() <= after.items(), "a trial was run again"
    assert results.get_best_result().config == resumable.LOWEST
    assert searcher.stopped_by is StopRule.CONVERGED


def test_an_interrupted_run_keeps_its_results_and_resumes(tmp_path, ray_cluster):
    with started_run(tmp_path, ray_cluster) as process:
        wait_for_trials(tmp_path, 3, process)
        before = finished(tmp_path / resumable.NAME)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
    experiment = tmp_path / resumable.NAME
    kept = finished(experiment)
    assert before.items() <= kept.items()
    results, searcher = resume(experiment)
    assert kept.items() <= finished(experiment).items()
    assert results.get_best_result().config == resumable.LOWEST
    assert searcher.stopped_by is StopRule.CONVERGED


# --- failed trials -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("again", "capped"),
    [("resume_errored", None), ("resume_errored", 1), ("restart_errored", 1)],
)
def test_failed_trials_run_again_and_count(again, capped, ray_cluster, tmp_path):  # noqa: ARG001
    broken = tmp_path / "broken"
    broken.touch()
    lowest = {"x": 2, "y": 2}

    def sometimes_broken(config):
        if config == lowest and broken.exists():
            raise ValueError("broken")
        return {"loss": (config["x"] - 2) ** 2 + (config["y"] - 2) ** 2}

    first = NelderMeadSearcher(points_to_evaluate=[lowest])
    tune.Tuner(
        sometimes_broken,
        param_space={"x": tune.randint(1, 5), "y": tune.randint(1, 5)},
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            search_alg=first,
            num_samples=2,
            max_concurrent_trials=capped,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(name="run", storage_path=str(tmp_path), verbose=0),
    ).fit()
    assert first.best.value > 0
    broken.unlink()
    tuner = tune.Tuner.restore(str(tmp_path / "run"), sometimes_broken, **{again: True})
    results = tuner.fit()
    assert results.get_best_result().config == lowest
    assert results.num_errors == 0
    searcher = tuner._local_tuner._tune_config.search_alg
    if again == "resume_errored":
        assert (searcher.best.config, searcher.best.value) == (lowest, 0.0)
    else:  # Ray gives it a new id, of which it tells no searcher
        assert searcher.best == first.best
