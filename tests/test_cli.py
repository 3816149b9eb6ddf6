"""The command line as a user types it, in processes of its own."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from kamerton_ray.cli import checking, searching
from kamerton_ray.cli.checking import task_of
from kamerton_ray.cli.commands import main
from kamerton_ray.report.exports import export
from kamerton_ray.report.report import report
from kamerton_ray.trial.result import Result
from kamerton_ray.tune.session import Session

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "kamerton_ray.cli"]

# Three counts a side; 2 and 1 are best, and everything is ten times better than the default.
SIMULATED = """
import os, sys, time
if "TF_NUM_INTRAOP_THREADS" not in os.environ:
    print(100.0 + 0.1 * (time.time() % 1))
    sys.exit()
intra, inter = (int(os.environ[f"TF_NUM_{k}_THREADS"]) for k in ("INTRAOP", "INTEROP"))
time.sleep(float(os.environ.get("SLEEP", "0")))
print(9.0 + abs(intra - 2) + abs(inter - 1) + 0.001 * (time.time() % 1))
"""

MODEL = """
def build():
    import tensorflow as tf
    square = tf.random.uniform((200, 200))
    return lambda: tf.matmul(square, square)
"""

LOOP = """
import os, sys
from pathlib import Path
from types import SimpleNamespace
from kamerton_ray import kamerton
with Path(sys.argv[1]).open("a") as file:
    file.write("x")
print("arguments:", sys.argv[2:])
for attempt in kamerton(vertex=[6, 3], bounds=[(1, 8), (1, 8)], iterations=9):
    print(attempt)
    print((attempt[0] - 4) ** 2 + (attempt[1] - 3) ** 2)
print("after the loop:", attempt)
"""


@pytest.fixture
def run(tmp_path):
    """Run kamerton-ray in a folder of its own."""

    def go(*args, code=0, **env):
        done = subprocess.run(
            [*COMMAND, *args],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=200,
            env={**os.environ, **env},
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout, done.stderr

    return go


@pytest.fixture
def apart(run, ray_cluster):
    """Run one of its commands that search on the tests' cluster, which is faster than a new one.

    The machine is shared with the other tests, and that is said.
    """
    address = ray_cluster.get_runtime_context().gcs_address

    def go(command, *args, **options):
        return run(command, "--shared", "--address", address, *args, **options)

    return go


@pytest.fixture
def search(ray_cluster, tmp_path, monkeypatch, capsys):  # noqa: ARG001 - the cluster
    """The same in this process, which has Ray already: only its start and end are left out."""
    for room in (searching, checking):
        monkeypatch.setattr(room, "connected", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)

    def go(command, *args, code=0):
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["kamerton-ray", command, *args])
        with pytest.raises(SystemExit) as ended:
            main.main([command, "--shared", *args], prog_name="kamerton-ray")
        out, err = capsys.readouterr()
        assert (ended.value.code or 0) == code, out + err
        assert "Traceback" not in err
        return out, err

    return go


def program_in(tmp_path):
    """The command that runs `program.py`; it starts sooner without site-packages."""
    return (sys.executable, "-IS", str(tmp_path / "program.py"))


def folder_of(tmp_path):
    (folder,) = (tmp_path / "kamerton-ray").iterdir()
    return folder


def test_help_teaches_and_needs_neither_ray_nor_tensorflow():
    code = (
        "import sys; sys.argv = ['kamerton-ray', '--help']\n"
        "from kamerton_ray.cli.commands import main\n"
        "try:\n    main()\nexcept SystemExit:\n    print({'ray', 'tensorflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")
    for name in ("exec", "run", "tune", "report", "check", "doctor"):
        assert re.search(rf"^  {name} ", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("name", ["exec", "run", "tune", "report", "check", "doctor"])
def test_every_command_has_its_help(name):
    done = CliRunner().invoke(main, [name, "--help"])
    assert done.exit_code == 0
    assert done.output.startswith("Usage: ")
    assert "--json" in done.output
    assert "Traceback" not in done.output


def test_the_doctor_says_what_it_found(run):
    out, _ = run("doctor")
    assert "usable CPUs" in out
    assert "Nothing to mend." in out or "Before tuning:" in out
    found = json.loads(run("doctor", "--json")[0])
    assert {"name", "found", "advice"} == set(found[0])


def test_exec_finds_a_configuration_and_exports_it(apart, tmp_path):
    (tmp_path / "program.py").write_text(SIMULATED)
    search = ("--intra", "1:3", "--inter", "1:2", "--objective", "last", "--export", "dotenv")
    out, err = apart("exec", *search, "--", *program_in(tmp_path))
    assert out == "TF_NUM_INTRAOP_THREADS=2\nTF_NUM_INTEROP_THREADS=1\n"
    assert re.search(r"intra_op=2 inter_op=1 is 11\.\d+x \[.*\] lower than TensorFlow's", err)
    assert re.search(r"trial   1  intra_op=\d inter_op=\d  (\d+\.\d+).*\n +reading \1 from", err)
    assert err.count("higher is better: no (--maximize)") == 1
    results = (folder_of(tmp_path) / "results.jsonl").read_text().splitlines()
    assert f"after {len(results)} trials: " in err
    session = json.loads((folder_of(tmp_path) / "session.json").read_text())
    (work,), goal = session["work"], session["goal"]
    typed = r"kamerton-ray exec .*--intra 1:3 --inter 1:2 --objective last --export dotenv -- .*"
    assert re.fullmatch(typed, work["command"])
    assert work["ray"]
    assert work["seconds"] > 1
    assert goal["space"] == {"intra_op": [1, 3], "inter_op": [1, 2]}
    assert goal["starts"][0] == json.loads(results[0])["config"]


def test_the_exported_file_gives_a_plain_program_its_threads(tmp_path):
    program = (ROOT / "examples" / "plain_keras.py").read_text().replace("1500", "10")
    (tmp_path / "program.py").write_text(
        f"{program}\nimport os; print(len(os.listdir('/proc/self/task')))\n"
    )

    def threads(inter_op):
        (tmp_path / ".env").write_text(export({"intra_op": 1, "inter_op": inter_op}, "dotenv"))
        done = subprocess.run(
            ["sh", "-c", f"set -a; . ./.env; exec {sys.executable} program.py"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        return int(done.stdout.split()[-1])

    # There are others, and some may have ended by then.
    assert threads(60) - threads(10) == pytest.approx(50, abs=5)


def test_exec_prints_json_alone_and_says_faster_of_times(search, tmp_path):
    code = 'test -n "$TF_NUM_INTRAOP_THREADS" || sleep 0.05'
    page = tmp_path / "page.html"
    options = ("--intra", "1:1", "--inter", "1:1", "--within", "0.1", "--json", "--quiet")
    out, err = search("exec", *options, "--report", str(page), "sh", "-c", code)
    answer = json.loads(out)
    assert answer["sentence"] in page.read_text().replace("&#39;", "'")
    assert re.search(r"x \[.*\] faster than TensorFlow's default", answer["sentence"])
    assert answer["decision"] == "use"
    assert answer["config"] == {"intra_op": 1, "inter_op": 1}
    assert answer["low"] < answer["speedup"] < answer["high"]
    assert err == ""


def test_the_default_is_kept_where_nothing_beats_it(search):
    options = ("--trials", "3", "--objective", "last", "--export", "env", "--quiet")
    out, _ = search("exec", *options, "sh", "-c", "date +5.00%N")
    assert out == ""


def test_where_the_first_trial_fails_by_itself_the_search_ends_there(search, tmp_path):
    out, err = search("exec", "--", "no-such-command", code=1)
    assert "No trial worked." in out
    assert "no-such-command: No such file or directory" in out
    assert "after 1 trial: the configuration with which it begins does not work" in err
    assert results_in(tmp_path) == 1


def test_what_was_mended_is_tried_again_by_the_resumed_search(search, tmp_path):
    command = ("exec", "--trials", "2", "--no-compare", "--objective", "last")
    program = ("--", *program_in(tmp_path))
    search(*command, *program, code=1)
    (tmp_path / "program.py").write_text(SIMULATED)
    folder = folder_of(tmp_path)
    search(*command, "--resume", str(folder), *program)
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert [line["outcome"] for line in lines] == ["exited", "ok", "ok"]
    assert lines[0]["config"] == lines[1]["config"]


def test_a_failure_after_a_success_ends_nothing(search, tmp_path):
    runs = tmp_path / "runs"
    code = f"echo x >> {runs}; test $(wc -l < {runs}) = 1 && date +%s.%N"
    options = ("--trials", "3", "--no-compare", "--objective", "last", "--minimize")
    _, err = search("exec", *options, "sh", "-c", code)
    assert "higher is better: no (--minimize)" in err
    assert results_in(tmp_path) == 3


def test_a_build_that_raises_ends_the_search_at_its_first_trial(search, tmp_path):
    (tmp_path / "no_model.py").write_text("def build():\n    raise ValueError('no model')\n")
    out, err = search("tune", "no_model.py:build", code=1)
    assert out.endswith("ValueError: no model\n")
    assert "no_model.py" in out
    assert "failed: build raised an exception, ValueError: no model\n" in err
    assert results_in(tmp_path) == 1


def test_a_rate_is_not_searched_by_before_it_is_said_which_numbers_are_better(search, tmp_path):
    code = "echo rows per second: $((200 + TF_NUM_INTRAOP_THREADS))"
    _, err = search("exec", "--objective", "last", "sh", "-c", code, code=2)
    assert re.search(r'reading 20\d from "rows per second: 20\d"; higher is better: \?', err)
    assert "say --maximize if a higher number is better, or --minimize if a lower one is" in err
    assert results_in(tmp_path) == 1


def test_a_number_that_never_changes_ends_the_search_and_the_others_are_shown(search, tmp_path):
    code = "echo batch size: 32; echo took $TF_NUM_INTRAOP_THREADS s"
    _, err = search("exec", "--objective", r"size: (\d+)", "sh", "-c", code, code=2)
    assert "with every one it is 32, read from 'batch size: 32'" in err
    assert re.search(r"The other lines with numbers:\n  took \d s\n", err)
    assert results_in(tmp_path) == 3


def test_a_loop_whose_number_never_changes_ends_the_search(search, tmp_path):
    (tmp_path / "script.py").write_text(LOOP.replace("    print((attempt[0]", "    print(5 or ("))
    _, err = search("run", "script.py", str(tmp_path / "log"), code=2)
    assert "with every one it is 5; of a loop it is the last line that the body prints" in err
    assert results_in(tmp_path) == 3


def test_ctrl_c_keeps_what_was_measured_and_the_resumed_search_goes_on(search, tmp_path):
    (tmp_path / "program.py").write_text(SIMULATED)
    args = ["exec", "--intra", "1:3", "--inter", "1:2", "--objective", "last"]
    program = ["--", *program_in(tmp_path)]
    process = subprocess.Popen(
        [*COMMAND, *args, *program],
        cwd=tmp_path,
        env={**os.environ, "SLEEP": "0.3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("kamerton-ray/*/results.jsonl")) or results_in(tmp_path) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    kept = results_in(tmp_path)
    folder = folder_of(tmp_path)
    again = f"kamerton-ray exec --resume {folder.relative_to(tmp_path)} --intra 1:3 --inter 1:2"
    assert f"Go on with: {again} --objective last -- {sys.executable} " in err
    out, err = search(*args, "--no-compare", "--resume", str(folder), *program)
    assert f"Trials of before that are kept: {kept}." in err
    assert re.search(rf"trial +{kept + 1}  intra_op", err)
    assert "intra_op=2 inter_op=1 is the best of the search" in out
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    configs = [(r["config"]["intra_op"], r["config"]["inter_op"]) for r in lines]
    assert len(set(configs[:kept])) == kept
    assert not set(configs[:kept]) & set(configs[kept : kept + 2])


def test_ctrl_c_during_the_comparison_keeps_the_search(search, ray_cluster, tmp_path):
    (tmp_path / "program.py").write_text(SIMULATED)
    args = ["exec", "--trials", "2", "--intra", "2:3", "--inter", "1:1", "--objective", "last"]
    address = ["--address", ray_cluster.get_runtime_context().gcs_address]
    program = ["--", *program_in(tmp_path)]
    process = subprocess.Popen(
        [*COMMAND, *args, *address, *program],
        cwd=tmp_path,
        env={**os.environ, "SLEEP": "0.3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while "comparison, round" not in (line := process.stderr.readline()):
        assert line, "it ended before the comparison"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "is the best so far; its comparison with the default did not end" in out
    assert "Traceback" not in err
    folder = folder_of(tmp_path)
    assert f"--resume {folder.relative_to(tmp_path)}" in err
    out, _ = search(*args, "--no-compare", "--resume", str(folder), *program)
    assert "intra_op=2 inter_op=1 is the best of the search" in out
    assert results_in(tmp_path) == 2


def results_in(tmp_path):
    return len((folder_of(tmp_path) / "results.jsonl").read_text().splitlines())


def test_tune_runs_a_function_of_a_file_and_shows_what_it_is_judged_by(search, tmp_path):
    (tmp_path / "model.py").write_text(f"print('loading')\n{MODEL}")
    options = ("--trials", "2", "--seconds", "0.1", "--no-compare", "--json", "--instances", "auto")
    limits = ("--at-most", "cpu_seconds=1e-9", "--at-least", "throughput=1e9")
    out, err = search("tune", "model.py:build", *options, "--objective", "seconds_p99", *limits)
    shown = r"  seconds_p99 [\d.]+ [mu]?s"
    over = r"; over the limit: cpu_seconds [\d.]+ [mu]?s, at most 0\.001 us"
    under = r"; below the limit: throughput [\d.]+ steps/s, at least 1000000000 steps/s"
    assert re.search(rf"trial   1  1 instance of .*{shown}{over}{under}", err)
    assert re.search(r"trial   2 .*  seconds_p99 [\d.]+ [mu]?s", err)
    answer = json.loads(out)  # what the module prints on import is not in it
    assert "loading" in err
    assert answer["trials"] == 2
    assert set(answer["config"]) == {"instances", "intra_op", "inter_op"}
    goal = json.loads((folder_of(tmp_path) / "session.json").read_text())["goal"]
    cpus = goal["space"]["instances"][1]
    assert goal["constraints"] == [{"product": ["instances", "intra_op"], "most": 2 * cpus}]


def test_a_trial_that_ray_loses_is_named(search):
    code = "kill -9 $(ps -o ppid= $PPID)"  # Ray's worker, which has started what starts this
    out, _ = search("exec", "--trials", "1", "sh", "-c", code, code=1)
    assert "No trial worked." in out
    assert "actor" in out


def test_run_searches_for_the_loop_of_a_script_and_prints_what_the_loop_would(apart, tmp_path):
    (tmp_path / "script.py").write_text(LOOP)
    out, err = apart("run", "script.py", str(tmp_path / "log"), "one", "--two")
    assert out.endswith("arguments: ['one', '--two']\n[4, 3]\n0\nafter the loop: [4, 3]\n")
    attempts = len((tmp_path / "log").read_text()) - 2  # one described it, one was the last
    assert f"after {attempts} trials" in err


def test_exec_tunes_how_many_instances_run_at_the_same_time(search, tmp_path):
    log = tmp_path / "log"
    code = f"echo $KAMERTON_RAY_INSTANCE of $KAMERTON_RAY_INSTANCES >> {log}; date +5.00%N"
    one_thread = ("--intra", "1:1", "--inter", "1:1", "--objective", "last", "--no-compare")
    command = ("exec", *one_thread, "--instances", "1:2", "--maximize")
    out, err = search(*command, "sh", "-c", code)
    assert out.startswith("2 instances of intra_op=1 inter_op=1 is the best of the search")
    assert "What counts of several instances is the sum of their numbers." in err
    assert re.search(r"trial   1  1 instance of intra_op=1 inter_op=1  5\.\d", err)
    assert re.search(r"trial   2  2 instances of intra_op=1 inter_op=1  10\.\d+[\n;]", err)
    assert set(log.read_text().splitlines()) == {"0 of 1", "0 of 2", "1 of 2"}
    goal = json.loads((folder_of(tmp_path) / "session.json").read_text())["goal"]
    assert next(iter(goal["space"].items())) == ("instances", [1, 2])
    assert goal["starts"] == [{"instances": 1, "intra_op": 1, "inter_op": 1}]
    again = ("--resume", str(folder_of(tmp_path)))
    search(*command, *again, "sh", "-c", code)
    changed = ("exec", *one_thread, "--maximize", "--instances", "2", *again)
    _, err = search(*changed, "sh", "-c", code, code=2)
    assert "ranges of before, --instances 1:2, but got 2:2" in err


def test_of_a_time_that_of_each_program_counts(search, tmp_path):
    one = ("--trials", "1", "--no-compare", "--intra", "1:1", "--inter", "1:1")
    _, err = search("exec", *one, "--instances", "2", "sleep", "0.05")
    assert "is the largest of their numbers, divided by how many of them ran." in err
    assert re.search(r"trial   1  2 instances of .*  seconds_per_program [\d.]+ ms", err)
    told = report(folder_of(tmp_path))
    assert "times faster per program" in told.html()
    assert told.text().splitlines()[-1].startswith("2 instances of intra_op=1 inter_op=1  1.00x")


def test_run_tunes_how_many_bodies_run_at_the_same_time(search, tmp_path):
    loop = LOOP.replace("vertex", "iterations=3, vertex").replace(", iterations=9", "")
    alone = "import os; instance = int(os.environ['KAMERTON_RAY_INSTANCE'])"
    (tmp_path / "script.py").write_text(alone + loop.replace("    print(attempt)", "    pass"))
    many = ("--instances", "2:2", "--combine", "per-program")
    _, err = search("run", *many, "script.py", str(tmp_path / "log"))
    assert "divided by how many of them ran" in err
    assert re.search(r"trial   1  2 instances of intra_op=6 inter_op=3  2[\n;]", err)


def test_a_body_that_leaves_its_loop_ends_the_search(apart, search, tmp_path):
    leaves = LOOP.replace("    print(attempt)", "    if attempt[0] < 5: break\n    print(attempt)")
    (tmp_path / "script.py").write_text(leaves)
    out, err = apart("run", "script.py", str(tmp_path / "log"))
    assert "the loop's body left its loop" in err
    results = results_in(tmp_path)
    search("run", "--resume", str(folder_of(tmp_path)), "script.py", str(tmp_path / "log"))
    assert results_in(tmp_path) == results
    best = [int(count) for count in re.findall(r"\d+", out.splitlines()[-1])]
    assert out.splitlines()[-1].startswith("after the loop: ")
    assert best[0] >= 5


def test_a_script_without_a_loop_is_named(run, tmp_path):
    (tmp_path / "script.py").write_text("print(1)")
    _, err = run("run", "script.py", code=2)
    assert "has ended without a loop" in err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["exec"], "Missing argument"),
        (["exec", "--intra", "4", "true"], "'4' is not of the form 1:16"),
        (["exec", "--intra", "4:1", "true"], "the first number must not be above"),
        (["exec", "--instances", "0:2", "true"], "instances must be at least 1"),
        (["tune", "--instances", "0", "json:dumps"], "instances must be at least 1"),
        (["run", "--instances", "two", "x.py"], "'two' is not of the form 1:16"),
        (["exec", "--combine", "sum", "true"], "see --instances"),
        (["exec", "--instances", "2", "--combine", "sum", "true"], "but got sum"),
        (["exec", "--constraint", "intra_op", "true"], "not of the form instances*intra_op<=8"),
        (["exec", "--constraint", "intra_op*<=2", "true"], "not of the form instances*intra_op<=8"),
        (["exec", "--intra", "-2:1", "true"], "the first number must be 0 or more"),
        (["exec", "--report", "no/such/folder/page.html", "true"], "in a folder that exists"),
        (["exec", "--knob", "omp=1:2", "true"], "is not the name of a variable"),
        (["exec", "--knob", "OMP=1", "true"], "'1' is not of the form 1:16"),
        (["exec", "--knob", "A=x,,y", "true"], "must be distinct, and none empty"),
        (["tune", "json:dumps", "--knob", "A=x,x"], "must be distinct, and none empty"),
        (["run", "--also", "xla,mimalloc", __file__], "must be one of ['allocator'"),
        (["exec", "--also", "bfloat16", "true"], "which a program has to make itself"),
        (["exec", "--objective", "(", "true"], "regular expression"),
        (["exec", "--kind", "cores=4", "true"], "is not of the form usable_cpus=64"),
        (["exec", "--address", "ray://nowhere:1", "true"], "ray job submit"),
        (["exec", "--resume", ".", "true"], "holds session.json"),
        (["tune", "json:dumps", "--at-most", "x"], "is not of the form seconds_p99=0.02"),
        (["tune", "json:dumps", "--at-most", "seconds_p99=0"], "at_most['seconds_p99']"),
        (["tune", "json:dumps", "--at-most", "foo=1"], "'cpus', 'memory']"),
        (["tune", "json:dumps", "--at-most", "throughput=1"], "better the lower they are"),
        (["exec", "--maximize", "--minimize", "true"], "exclude each other"),
        (["exec", "--maximize", "true"], "is for a number that is printed"),
        (["exec", "--objective", "throughput: (.*)", "true"], "--minimize if a lower one is"),
        (["tune", "model"], "module:function"),
        (["tune", "no_such_module:build"], "cannot be imported"),
        (["tune", "json:nothing"], "has no function"),
        (["run", "nowhere.py"], "does not exist"),
    ],
)
def test_a_mistake_is_said_in_a_sentence(args, said):
    done = CliRunner().invoke(main, args)  # in this process: nothing is started before it is seen
    assert done.exit_code == 2
    assert said in done.output


@pytest.fixture
def session(tmp_path):
    """A session of `exec` with a result, as `kamerton-ray exec true` leaves it."""
    described = {"objective": "time", "maximize": False, "knobs": [], "timeout": 3600.0}
    session = Session.create(tmp_path, "exec", {"argv": ["true"], **described})
    ranges = {"intra_op": [1, 3], "inter_op": [1, 2]}
    goal = {"space": ranges, "starts": [{"intra_op": 2, "inter_op": 2}]}
    session.describe({"goal": {**goal, "metric": "objective", "mode": "min"}})
    session.add(
        Result.of({"config": {"intra_op": 2, "inter_op": 2}, "objective": 1.0, "outcome": "ok"})
    )
    return session


def test_a_resumed_search_must_be_the_same(session):
    done = CliRunner().invoke(main, ["exec", "--resume", str(session.folder), "false"])
    assert done.exit_code == 2
    assert "same argv" in done.output


def test_a_session_that_another_search_goes_on_with_is_refused(session):
    with session.held():
        done = CliRunner().invoke(main, ["exec", "--resume", str(session.folder), "true"])
    assert done.exit_code == 2
    assert "must not be in use by another search" in done.output
    assert set(os.listdir(session.folder)) == {"session.json", "results.jsonl"}


def test_a_changed_range_is_named_by_its_option_and_written_nowhere(search, session):
    before = session.description()
    options = ("--intra", "1:4", "--inter", "1:2", "--resume", str(session.folder))
    _, err = search("exec", *options, "true", code=2)
    assert "ranges of before, --intra 1:3, but got 1:4" in err
    assert session.description() == before


def test_a_search_without_instances_is_not_resumed_with_some(search, session):
    options = ("--intra", "1:3", "--inter", "1:2", "--instances", "1:2")
    _, err = search("exec", *options, "--resume", str(session.folder), "true", code=2)
    assert "must be for the same combine as before, None, but got 'per-program'" in err


def test_more_instances_than_cpus_are_refused(search):
    _, err = search("exec", "--instances", "1:99999", "true", code=2)
    assert re.search(r"--instances must be at most the usable CPUs, \d+, but got 99999", err)


def test_what_was_settled_is_not_compared_again(search, session):
    answer = {"decision": "keep", "sentence": "It was settled.", "config": {"intra_op": 2}}
    session.conclude(answer)
    options = ("--intra", "1:3", "--inter", "1:2", "--trials", "1")
    out, err = search("exec", *options, "--resume", str(session.folder), "true")
    assert out == "It was settled.\n"
    assert "Trials of before that are kept: 1." in err
    assert session.answer()["sentence"] == "It was settled."


def test_our_options_end_where_the_program_begins(search, tmp_path):
    code = f'echo "$@" > {tmp_path}/seen; date +%s.%N'
    options = ("--trials", "1", "--no-compare", "--objective", "last")
    search("exec", *options, "sh", "-c", code, "sh", "--trials", "7", "--json", "--nonsense")
    assert (tmp_path / "seen").read_text() == "--trials 7 --json --nonsense\n"
    assert results_in(tmp_path) == 1


def test_an_option_that_there_is_not_is_refused():
    done = CliRunner().invoke(main, ["exec", "--nonsense", "true"])
    assert done.exit_code == 2
    assert "No such option" in done.output


def test_without_a_comparison_the_searchs_best_is_exported_and_labelled(search):
    code = "echo $((10 - TF_NUM_INTRAOP_THREADS))"
    options = ("--trials", "1", "--intra", "3:3", "--inter", "1:1", "--no-compare")
    export = ("--objective", "last", "--export", "env")
    out, err = search("exec", *options, *export, "sh", "-c", code)
    assert out == "export TF_NUM_INTRAOP_THREADS=3\nexport TF_NUM_INTEROP_THREADS=1\n"
    assert "Not compared with the default: what is exported is the search's best." in err


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def build(:\n", ["model_0.py", "line 1", "def build(:", "SyntaxError: "]),
        ("import os\nraise OSError(r'no \\d')\n", ["model_1.py", "line 2", "OSError: no \\d"]),
        ("import no_such_module\n", ["model_2.py", "line 1", "No module named 'no_such_module'"]),
        ("import sys\nsys.exit('tired')\n", ["model_3.py", "line 2", "SystemExit: tired"]),
    ],
)
def test_a_module_that_cannot_be_imported_shows_the_users_own_lines(tmp_path, code, said):
    (tmp_path / said[0]).write_text(code)
    target = f"{said[0]}:build"
    done = subprocess.run(
        [*COMMAND, "tune", target], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    err = done.stderr
    for part in said:
        assert part in err
    assert "click" not in err
    assert "importlib" not in err
    assert len(err.splitlines()) < 14


def answered(tmp_path, argv, decision, config, **answer):
    """The folder of a session of `exec` that has ended with this decision."""
    described = {"argv": argv, "objective": "last", "maximize": False, "timeout": 60.0}
    session = Session.create(tmp_path / "kamerton-ray", "exec", {**described, **answer})
    session.add(Result(config=config, objective=9.0, names=("objective",)))
    session.conclude({"decision": decision, "sentence": "It was so.", "config": config})
    return str(session.folder)


@pytest.mark.parametrize(
    ("decision", "config", "code", "said"),
    [
        ("use", {"intra_op": 2, "inter_op": 1}, 0, "Still true: "),
        ("keep", {"intra_op": 2, "inter_op": 1}, 3, "No longer true: "),
    ],
)
def test_an_answer_is_checked_again(search, tmp_path, decision, config, code, said):
    (tmp_path / "program.py").write_text(SIMULATED)
    folder = answered(tmp_path, program_in(tmp_path), decision, config)
    out, err = search("check", folder, code=code)
    assert out.startswith(said)
    assert re.search(r"intra_op=2 inter_op=1 is 11\.\d+x", out)
    assert "Checked is: It was so." in err


def test_an_answer_that_is_wrong_by_now_is_said_as_json_with_a_code_of_its_own(search, tmp_path):
    (tmp_path / "program.py").write_text("import time\nprint(5 + 0.001 * (time.time() % 1))")
    folder = answered(tmp_path, program_in(tmp_path), "use", {"intra_op": 2, "inter_op": 1})
    out, _ = search("check", folder, "--json", "--quiet", code=3)
    told = json.loads(out)
    assert told["holds"] is False
    assert told["decision"] == "keep"
    assert told["before"]["decision"] == "use"


def test_an_answer_that_fails_by_now_is_not_decided(search, tmp_path):
    (tmp_path / "program.py").write_text(
        "import os\nprint(1 / ('TF_NUM_INTRAOP_THREADS' not in os.environ))"
    )
    folder = answered(tmp_path, program_in(tmp_path), "use", {"intra_op": 2, "inter_op": 1})
    out, _ = search("check", folder, code=1)
    assert out.startswith("Not decided: intra_op=2 inter_op=1 was the best of the search, but")


def test_what_has_no_answer_to_check_is_refused(tmp_path):
    def refusal(folder):
        done = CliRunner().invoke(main, ["check", str(folder)])
        assert done.exit_code == 2
        assert "Traceback" not in done.output
        return done.output

    unsure = answered(tmp_path, ["true"], "unsure", {"intra_op": 1})
    assert "must have an answer" in refusal(unsure)
    loop = Session.create(tmp_path / "kamerton-ray", "run", {})
    loop.add(Result(config={"intra_op": 1}, objective=9.0, names=("objective",)))
    loop.conclude({"decision": "use", "sentence": "", "config": {"intra_op": 1}})
    assert "must be one of tune or exec" in refusal(loop.folder)
    told = answered(tmp_path, ["true"], "use", {"intra_op": 1}, timeout="soon")
    assert "must say its timeout, a float, but got 'soon'" in refusal(told)
    (tmp_path / "empty").mkdir()
    assert "session.json" in refusal(tmp_path / "empty")


def test_a_time_budget_is_for_the_whole_and_what_is_not_decided_goes_on(search, tmp_path):
    """Every run says another number: in so short a time nobody can tell who is better."""
    (tmp_path / "program.py").write_text(
        "import time\ntime.sleep(0.1)\nprint(1 + hash(time.time()) % 1000 / 1000)"
    )
    begin = time.monotonic()
    out, err = search(
        *("exec", "--objective", "last", "--minimize", "--time-budget", "9", "--"),
        *program_in(tmp_path),
    )
    assert "This takes about 9 s: up to 4 s of it to search" in err
    assert "more trials; about 9 s in all" in err
    assert time.monotonic() - begin < 60
    is_open = re.search("Undecided so far: |did not end|was no time", out) is not None
    assert ("Go on with: kamerton-ray exec --resume" in err) is is_open


def test_where_no_trial_ends_in_time_it_says_so(search):
    out, err = search("exec", "--time-budget", "4", "sleep", "60", code=1)
    assert out == "No trial ended. Give it more time: --time-budget.\n"
    assert "The search ended after 0 trials: its time was spent." in err


def test_a_quick_answer_compares_one_configuration_and_says_so(search, tmp_path):
    (tmp_path / "program.py").write_text(SIMULATED)
    threads = ("--intra", "1:3", "--inter", "1:3")
    out, _ = search(
        *("exec", *threads, "--objective", "last", "--minimize", "--quick", "--json", "--"),
        *program_in(tmp_path),
    )
    told = json.loads(out)
    assert told["decision"] == "use"
    assert told["sentence"].startswith("A quick look, with no other configuration compared: ")
    assert len(told["table"]) == 2
    assert told["race_rounds"] == 0


def test_the_search_and_its_comparison_import_tensorflow_once(search, tmp_path):
    """All attempts of a model are forked by one process, whose id they write down.

    The step time hardly varies, so the comparison soon ends.
    """
    (tmp_path / "once.py").write_text(
        "import os, tempfile, time\nfrom pathlib import Path\n"
        f"parents = Path({str(tmp_path / 'parents')!r})\n"
        "def build():\n"
        "    with parents.open('a') as file:\n"
        "        file.write(f'{os.getppid()}\\n')\n"
        "    parents.with_name('folder').write_text(tempfile.gettempdir())\n"
        "    return lambda: time.sleep(0.01)\n"
    )
    search("tune", "once.py:build", "--trials", "2", "--seconds", "0.1", "--quiet")
    parents = (tmp_path / "parents").read_text().split()
    assert len(parents) > 2 + 1 + 2 * 4  # the trials, the default's, and the rounds
    assert len(set(parents)) == 1
    folder = Path((tmp_path / "folder").read_text())  # of the process that forks
    assert folder.name.startswith("kamerton_ray-")
    assert not folder.exists()


def test_a_saved_model_is_tuned_checked_and_resumed_with_the_same_inputs(
    search, in_tensorflow, tmp_path
):
    in_tensorflow(f"""
import tensorflow as tf
tf.keras.Sequential([tf.keras.layers.Input((6,)), tf.keras.layers.Dense(4)]).save(
    "{tmp_path}/model.keras"
)
""")
    target = str(tmp_path / "model.keras")
    typed = ("--trials", "2", "--seconds", "0.1", target)
    out, _ = search("tune", "--batch", "3", *typed)
    assert "TensorFlow's default" in out
    folder = folder_of(tmp_path)
    description = json.loads((folder / "session.json").read_text())
    assert (description["target"], description["batch"]) == (target, 3)
    _, err = search("tune", "--resume", str(folder), "--batch", "4", *typed, code=2)
    assert "resumed search must be for the same batch as before, 3, but got 4" in err
    checked = task_of(description, SimpleNamespace(within=0.02))
    assert (checked.build.path, checked.build.batch) == (target, 3)
    _, err = search("tune", "--batch", "4", "json:dumps", code=2)
    assert "--batch and --shape must be of a saved model" in err


def test_a_lost_host_is_started_again_and_its_trial_tried_again(search, tmp_path, caplog):
    """The first attempt ends the process that measures, by which its own nest was started."""
    (tmp_path / "lost.py").write_text(
        "import os, signal\nfrom pathlib import Path\nimport psutil\n"
        f"done = Path({str(tmp_path / 'done')!r})\n"
        "def build():\n"
        "    if not done.exists():\n"
        "        done.touch()\n"
        "        psutil.Process(os.getppid()).parent().kill()\n"
        "    return lambda: sum(range(10**5))\n"
    )
    out, _ = search(
        "tune", "lost.py:build", "--trials", "2", "--seconds", "0.1", "--no-compare", "--json"
    )
    assert "is run again: its actor" in caplog.text
    assert json.loads(out)["trials"] == 2


def test_words_are_searched_and_the_default_goes_without_them(search, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import os, time\n"
        "mode = os.environ.get('MODE', 'none')\n"
        f"with open({str(tmp_path / 'seen')!r}, 'a') as file: file.write(mode + ' ')\n"
        "print({'slow': 9.0, 'fast': 1.0, 'none': 5.0}[mode] + 0.001 * (time.time() % 1))\n"
    )
    options = ("--knob", "MODE=slow,fast", "--intra", "1:1", "--inter", "1:1")
    out, _ = search("exec", *options, "--objective", "last", "--", *program_in(tmp_path))
    assert "intra_op=1 inter_op=1 MODE=fast is" in out
    assert set((tmp_path / "seen").read_text().split()) == {"slow", "fast", "none"}
    folder = str(folder_of(tmp_path))
    other = ("--knob", "MODE=fast,slow", *options[2:], "--resume", folder)
    _, err = search("exec", *other, "--objective", "last", "--", *program_in(tmp_path), code=2)
    assert "same knobs as before" in err
    assert export(Session.open(Path(folder)).answer()["config"], "dotenv").splitlines() == [
        "TF_NUM_INTRAOP_THREADS=1",
        "TF_NUM_INTEROP_THREADS=1",
        "MODE=fast",
    ]


def test_run_tunes_a_variable_beside_its_loop_and_ends_with_the_best(search, tmp_path):
    (tmp_path / "script.py").write_text(
        "import os\n"
        "from kamerton_ray import kamerton\n"
        "for attempt in kamerton(vertex=[2], bounds=[(1, 2)], iterations=6):\n"
        "    print({'slow': 9, 'fast': 1, None: 5}[os.environ.get('MODE')] + attempt[0])\n"
        "with open('ended', 'w') as file: file.write(str(os.environ.get('MODE')))\n"
    )
    _, err = search("run", "--knob", "MODE=slow,fast", "script.py")
    assert "x0=1 MODE=fast" in err
    assert (tmp_path / "ended").read_text() == "fast"
