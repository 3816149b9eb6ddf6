"""Folders from anyone: damaged, cut off, hostile, foreign. They are only data."""

import contextlib
import copy
import importlib
import json
import os
import pickle
import random

import cloudpickle
import pytest
from click.testing import CliRunner
from findings import results, verdict
from json_tree import places
from ray import cloudpickle as rays

from kamerton_ray import InvalidInputError, NelderMeadSearcher, report
from kamerton_ray.answer.rounds import Course
from kamerton_ray.cli import searching
from kamerton_ray.cli.commands import main
from kamerton_ray.trial.result import Result
from kamerton_ray.tune.folders import (
    ANSWER,
    DESCRIPTION,
    RESULT_SHAPE,
    RESULTS,
    read_lines,
    read_object,
    write,
)
from kamerton_ray.tune.goal import Goal
from kamerton_ray.tune.results import trial_results
from kamerton_ray.tune.run import tell
from kamerton_ray.tune.session import Session
from kamerton_ray.tune.trainable import one_step

verdicts = importlib.import_module("kamerton_ray.answer.comparing")

CASES = 500
RESUMED = 20  # of them by the command line itself
GOAL = {
    "space": {"intra_op": [1, 8], "inter_op": [1, 8]},
    "starts": [{"intra_op": 4, "inter_op": 4}],
    "metric": "speedup",
    "mode": "max",
}
TUNED = {"target": "model.py:build", "objective": "speedup", "limits": [], "goal": GOAL}
RAN = {"argv": ["true"], "objective": "time", "maximize": False, "knobs": [], "timeout": 3600.0}
RAN["goal"] = {**GOAL, "metric": "objective", "mode": "min"}

HOSTILE = [
    None,
    True,
    -1,
    0,
    3.5,
    1e308,
    float("nan"),
    10**400,
    "x",
    "\x1b[2J\x1b]0;owned\x07",
    "../../etc/passwd",
    [],
    [[]],
    {},
    {"_type": "CLOUDPICKLE_FALLBACK", "value": "80049529"},
]


class Payload:
    """Whoever unpickles it makes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (os.mkdir, (self.path,))


@pytest.fixture(autouse=True)
def nothing_is_unpickled(monkeypatch, request):
    if "search_here" in request.fixturenames:
        return  # Ray itself needs it

    def refuse(*_, **__):
        raise AssertionError("a folder was unpickled")

    for module in (pickle, cloudpickle, rays):
        for name in ("load", "loads", "Unpickler"):
            monkeypatch.setattr(module, name, refuse, raising=False)


@pytest.fixture
def search_here(ray_cluster, monkeypatch):  # noqa: ARG001 - the cluster has to be there
    """Run a command that searches in this process, on the tests' Ray."""
    monkeypatch.setattr(searching, "connected", lambda *_: contextlib.nullcontext())
    ranges = ["--intra", "1:8", "--inter", "1:8", "--shared"]
    return lambda command, *args: CliRunner().invoke(main, [command, *ranges, *args])


def session_in(folder, *, program=False):
    """A session that came to its end, of a model or of a program."""
    kind, description = ("exec", RAN) if program else ("tune", TUNED)
    session = Session.create(folder, kind, description)
    for one in results():
        session.add(Result.of({**one, "objective": one["seconds"]} if program else one))
    answer = verdict()
    session.conclude({**answer.to_json(rounds=True), "stopped_by": "it was told to"})
    return session.folder


def run_in(folder, payload=None):
    """A run of Ray Tune, as Ray writes it."""
    folder.mkdir(exist_ok=True)
    trials = []
    for place, result in enumerate(results()):
        number = f"abc_{place:05}"
        config = dict(result["config"])
        if payload is not None:
            pickled = pickle.dumps(payload).hex()
            config["build"] = {"_type": "CLOUDPICKLE_FALLBACK", "value": pickled}
        measured = {**result, "trial_id": number}
        described = {"trial_id": number, "config": config, "status": "TERMINATED"}
        trials.append([json.dumps(described), json.dumps({"last_result": measured})])
        if place % 2:
            trial = folder / f"trainable_{number}_{place}"
            trial.mkdir()
            (trial / "params.json").write_text(json.dumps(config))
            (trial / "result.json").write_text(json.dumps(measured) + "\n")
    state = {"trial_data": trials, "runner_data": {}}
    (folder / "experiment_state-2026-01-01_00-00-00.json").write_text(json.dumps(state))
    return folder


# --- how a folder is damaged ---------------------------------------------------------------------


def cut_off(file, rng):
    data = file.read_bytes()
    file.write_bytes(data[: rng.randrange(len(data))])


def flipped(file, rng):
    data = bytearray(file.read_bytes())
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    file.write_bytes(bytes(data))


def replaced(file, rng):
    """A value, or several, by another one, or by none."""
    try:
        text = file.read_text()
        lines = text.splitlines() if file.suffix == ".jsonl" else [text]
        place = rng.randrange(len(lines))
        tree = json.loads(lines[place])
    except (ValueError, RecursionError):  # damaged before
        return
    for _ in range(rng.randint(1, 3)):
        if not isinstance(tree, dict | list) or not tree:
            break
        *path, last = rng.choice(list(places(tree)))
        branch = tree
        for step in path:
            branch = branch[step]
        if rng.random() < 0.2:
            del branch[last]
        else:
            branch[last] = copy.deepcopy(rng.choice(HOSTILE))
    lines[place] = json.dumps(tree)
    file.write_text("\n".join(lines) + "\n")


def overwritten(file, rng):
    file.write_bytes(
        rng.choice(
            [
                b"",
                b"\n\n",
                b"null\n",
                b"[1, 2]\n",
                b'"text"\n',
                b"{}\n",
                b"not json\n",
                b"[" * 100_000,
                b'{"a":' * 50_000,
                bytes(range(256)),
                '{"config": {}}'.encode("utf-16"),
                b'{"config": {"intra_op": 1}, "speedup": 1e999}\n',
            ]
        )
    )


def turned_into_a_folder(file, rng):  # noqa: ARG001
    file.unlink()
    file.mkdir()


def removed(file, rng):  # noqa: ARG001
    file.unlink()


DAMAGES = [cut_off, flipped, replaced, replaced, replaced, overwritten, turned_into_a_folder]
DAMAGES += [removed]


def shown(folder):
    """What `kamerton-ray report` says of a folder, without pictures."""
    done = CliRunner().invoke(main, ["report", str(folder), "--json", str(folder / "out.json")])
    if not isinstance(done.exception, SystemExit | None):
        raise done.exception
    return done.exit_code, done.output


def damaged(folder, seed):
    """A folder with one or two damages."""
    rng = random.Random(seed)  # noqa: S311 - not for secrets
    files = sorted(one for one in folder.rglob("*.json*") if one.is_file())
    for _ in range(rng.choice([1, 1, 2])):
        file = rng.choice(files)
        if file.is_file() and file.stat().st_size:
            rng.choice(DAMAGES)(file, rng)
    return folder


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("kind", ["session", "run"])
def test_any_folder_gets_an_answer_or_a_line_that_names_the_place(kind, tmp_path, monkeypatch):
    # A verdict reads the folder, and stops where it would measure.
    unmeasured = lambda _, finalists, *__, **___: Course(finalists=list(finalists))  # noqa: E731
    monkeypatch.setattr(verdicts, "run_on_a_node", unmeasured)
    ended = {0: 0, 2: 0}
    for seed in range(CASES // 2):
        folder = tmp_path / str(seed)
        folder.mkdir()
        folder = damaged(session_in(folder) if kind == "session" else run_in(folder), seed)
        code, output = shown(folder)
        assert code in ended, (seed, output)
        ended[code] += 1
        assert "\x1b" not in output, seed
        if code:
            assert "Error: " in output, seed
            assert str(folder) in output, (seed, output)
        compared(folder)
        if kind == "session":
            taken_up(folder)
    assert min(ended.values()) > CASES // 20, ended


def compared(folder):
    """Have a verdict read a folder."""
    try:
        said = verdicts.verdict(folder, one_step("Nothing", object))
        assert said.sentence
    except InvalidInputError as error:
        assert str(folder) in str(error) or "must report" in str(error)  # noqa: PT017 - either


def taken_up(folder):
    """Take a session up as `--resume` does, up to the first trial."""
    try:
        session = Session.open(folder)
        goal = session.description().get("goal")
        found = session.results()
        session.answer()
        if goal is not None:
            searcher = NelderMeadSearcher(
                {name: range(low, high + 1) for name, (low, high) in goal["space"].items()},
                goal["metric"],
                goal["mode"],
            )
            tell(searcher, Goal(**goal), found)
    except InvalidInputError as error:
        assert str(error)  # noqa: PT017 - any sentence will do


def test_any_session_is_resumed_or_refused_in_a_sentence(search_here, tmp_path):
    """As a user does it, once for each of some damaged sessions."""
    ended = {0: 0, 2: 0}
    for seed in range(RESUMED):
        (tmp_path / str(seed)).mkdir()
        folder = damaged(session_in(tmp_path / str(seed), program=True), seed)
        done = search_here("exec", "--resume", str(folder), "--trials", "1", "--no-compare", "true")
        assert done.exit_code in ended, (seed, done.output, done.exception)
        ended[done.exit_code] += 1
        assert "\x1b" not in done.output, seed
        if done.exit_code:
            assert "Error: " in done.output, seed
    assert min(ended.values()) > RESUMED // 10, ended


@pytest.mark.parametrize("give", [shown, trial_results, lambda folder: report(folder).text()])
def test_nothing_in_rays_own_files_is_unpickled(give, tmp_path):
    folder = run_in(tmp_path / "run", Payload(tmp_path / "ran"))
    give(folder)
    assert not (tmp_path / "ran").exists()
    assert trial_results(folder)[0].tuned["build"] is None


def test_a_run_is_read_in_its_order_whichever_files_are_there(tmp_path):
    folder = run_in(tmp_path / "run")
    expected = [one["config"] for one in results()]
    assert [one.config for one in trial_results(folder)] == expected
    next(folder.glob("experiment_state-*")).unlink()
    assert [one.config for one in trial_results(folder)] == expected[1::2]
    for file in folder.glob("*/result.json"):
        result = json.loads(file.read_text())
        file.unlink()
        names = ["trial_id", "speedup", "seconds"]
        rows = [names, ["early", 9, 9], [result[name] for name in names]]
        table = "\n".join(",".join(map(str, row)) for row in rows)
        (file.parent / "progress.csv").write_text(table + "\n")
    assert [one.seconds for one in trial_results(folder)][:3] == [
        one["seconds"] for one in results()[1:6:2]
    ]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (DESCRIPTION, "{", "session.json must hold JSON: "),
        (DESCRIPTION, '{"kind": "other"}', "session.json, $.kind: 'other' is not one of"),
        (RESULTS, '{"config": {}}\n7\n', "results.jsonl, line 2 must hold a JSON object, but"),
        (RESULTS, '{"config": 3}\n', "results.jsonl, line 1, $.config: 3 is not of type 'object'"),
        (ANSWER, '{"decision": "maybe", "sentence": ""}', "answer.json, $.decision: 'maybe' is"),
        (ANSWER, "", "answer.json must hold JSON: "),
    ],
)
def test_what_is_wrong_is_named_with_its_place(name, text, said, tmp_path):
    folder = session_in(tmp_path)
    (folder / name).write_text(text)
    code, output = shown(folder)
    assert code == 2
    assert said in " ".join(output.split())


# --- writing -------------------------------------------------------------------------------------


def test_a_file_is_written_whole_or_left_as_it_was(tmp_path):
    path, plain = tmp_path / "file", tmp_path / "plain"
    write(path, "before")
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode
    plain.unlink()
    with pytest.raises(UnicodeEncodeError):
        write(path, "after\ud800")
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["file"]


def test_a_full_disk_leaves_the_answer_of_before(tmp_path):
    resource = pytest.importorskip("resource")
    session = Session(session_in(tmp_path))
    before = session.answer()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))  # Python ignores the signal for it
    try:
        with pytest.raises(OSError, match="too large"):
            session.conclude({"decision": "none", "sentence": "x" * 1000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert session.answer() == before
    assert not list(session.folder.glob(f".{ANSWER}*"))


def test_lines_and_objects_come_back(tmp_path):
    write(tmp_path / "object", '{"a": 1}')
    assert read_object(tmp_path / "object") == {"a": 1}
    write(tmp_path / "lines", '{"config": {"a": 1}}\n\n{"config": {}}\n{"cut')
    assert read_lines(tmp_path / "lines", RESULT_SHAPE) == [{"config": {"a": 1}}, {"config": {}}]
