"""Kamerton's loop, in scripts of their own with real forks and real faults."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from kamerton_ray import (
    InvalidInputError,
    LoopError,
    Vertex,
    kamerton,
    set_threading,
)
from kamerton_ray.trial.script import Script, ScriptRunner

# Where a line that only the script itself may run writes down who ran it.
PRELUDE = """
import logging, os, signal, sys, time
from pathlib import Path
from kamerton_ray import kamerton
logging.basicConfig(format="%(message)s")
SCRIPT = os.getpid()
FIRST = [22, 2]

def after():
    with Path("after").open("a") as file:
        print("script" if os.getpid() == SCRIPT else "child", file=file)

def in_a_later_child(attempt):
    return os.getpid() != SCRIPT and attempt != FIRST

def value(attempt):
    return (attempt[0] - 5) ** 2 + (attempt[1] - 7) ** 2
"""


@pytest.fixture
def start(tmp_path):
    """Start a script; everything that it has started is gone with it, or the test fails."""

    def go(code, **options):
        (tmp_path / "script.py").write_text(PRELUDE + code)
        return subprocess.Popen(
            [sys.executable, "script.py"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path), "MARK": str(tmp_path)},
            **options,
        )

    yield go
    assert not survivors(tmp_path)


@pytest.fixture
def run(start):
    """Run a script to its end: its exit code, its output, its errors."""

    def go(code):
        process = start(code)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    return go


def survivors(mark):
    """The processes whose environment holds the mark."""
    deadline = time.monotonic() + 10
    while found := [pid for pid in Path("/proc").glob("[0-9]*") if marked(pid, mark)]:
        if time.monotonic() > deadline:
            return [pid.name for pid in found]
        time.sleep(0.05)
    return []


def marked(pid, mark):
    try:
        return f"MARK={mark}".encode() in (pid / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


# --- what it does --------------------------------------------------------------------------------


def test_kamertons_quadratic_ends_at_its_minimum_and_shows_the_best_attempt_alone(run):
    code, out, err = run("""
for attempt in kamerton(vertex=[22, 2]):
    print(attempt)
    print(value(attempt))
print("best:", attempt, os.getpid() == SCRIPT)
""")
    assert (code, out, err) == (0, "[5, 7]\n0\nbest: [5, 7] True\n", "")


def test_attempts_leave_none_of_tensorflows_files_behind(tmp_path, monkeypatch):
    left = lambda: len(list(tmp_path.glob("__autograph_generated_file*.py")))  # noqa: E731
    script = tmp_path / "script.py"
    script.write_text(f"""{PRELUDE}
import tensorflow as tf

def before(x):
    return x if x > 0 else -x

def within(x):
    return -x if x > 0 else x

tf.autograph.to_graph(before)
for attempt in kamerton(vertex=[22, 2], iterations=2):
    tf.autograph.to_graph(within)
    print(value(attempt))
print(len(list(Path(os.environ["TMPDIR"]).glob("__autograph_generated_file*.py"))))
""")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    told = subprocess.run(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, check=True, timeout=120
    )
    # The script's own two lie there until it ends.
    assert (told.stdout.split()[-1], left()) == ("2", 0)
    runner = ScriptRunner(Script(path=str(script)), names=("intra_op", "inter_op"), timeout_s=60)
    try:
        found = runner.measure({"intra_op": 22, "inter_op": 2})
    finally:
        runner.close()
    assert (found.error, left()) == ("", 0)


def test_the_callback_is_called_with_the_attempt_before_the_body_and_at_last_in_the_script(run):
    _, out, _ = run("""
called = []
for attempt in kamerton(cb=called.append, vertex=[22, 2]):
    print(value(called[-1]))
print(called, attempt is called[-1])
""")
    assert out == "0\n[[5, 7]] True\n"


def test_a_named_tuple_keeps_its_type(run):
    _, out, _ = run("""
from typing import NamedTuple
class Pair(NamedTuple):
    intra: int
    inter: int
for attempt in kamerton(vertex=Pair(22, 2), bounds=[(1, 64), (1, 64)]):
    print(value([attempt.intra, attempt.inter]))
print(attempt)
""")
    assert out.splitlines()[-1] == "Pair(intra=5, inter=7)"


def test_any_number_of_integers_and_any_bounds_can_be_searched(run):
    _, out, _ = run("""
for attempt in kamerton(vertex=[0, 0, 0], bounds=[(-9, 9), (0, 3), (-5, 0)], step_sizes=[4, 1, -1]):
    print((attempt[0] + 4) ** 2 + (attempt[1] - 2) ** 2 + (attempt[2] + 3) ** 2)
print(attempt)
""")
    assert out.splitlines()[-1] == "[-4, 2, -3]"


def test_the_step_sizes_say_what_comes_after_the_vertex(run):
    _, out, _ = run("""
seen = []
for attempt in kamerton(vertex=[22, 2], step_sizes=[-3, 5], iterations=3, callback=seen.append):
    print(value(attempt))
print(sorted(vertex for vertex, _ in seen[-1]))
""")
    assert out.splitlines()[-1] == "[[19, 2], [22, 2], [22, 7]]"


def test_the_simplex_is_shown_after_each_attempt_best_first(run):
    _, out, _ = run("""
simplices = []
for attempt in kamerton(vertex=[22, 2], callback=simplices.append):
    print(value(attempt))
print(all(s == sorted(s, key=lambda pair: pair[1]) for s in simplices))
print(all(value(vertex) == at for s in simplices for vertex, at in s), simplices[-1][0])
""")
    assert out.splitlines()[1:] == ["True", "True ([5, 7], 0.0)"]


def test_repeats_take_the_median(run):
    _, out, _ = run("""
simplices = []
for attempt in kamerton(vertex=[22, 2], iterations=1, repeats=3, callback=simplices.append):
    with Path("count").open("a") as file:
        file.write("x")
    print([30.0, 10.0, 20.0, 0.0][Path("count").stat().st_size - 1])
print(simplices)
""")
    assert out == "0.0\n[[([22, 2], 20.0)]]\n"


def test_two_loops_one_after_the_other_and_one_in_a_function(run):
    code, out, _ = run("""
def search(vertex):
    for attempt in kamerton(vertex=vertex):
        print(value(attempt))
    return attempt
print(search([22, 2]), search([3, 3]))
""")
    assert (code, out) == (0, "0\n0\n[5, 7] [5, 7]\n")


def test_one_loop_in_another(run):
    code, out, _ = run("""
for outer in kamerton(vertex=[3], bounds=[(1, 4)]):
    for inner in kamerton(vertex=[2], bounds=[(1, 4)]):
        print((inner[0] - outer[0]) ** 2 + abs(outer[0] - 2))
print(outer, inner)
""")
    assert (code, out) == (0, "0\n[2] [2]\n")


def test_the_same_loop_can_be_iterated_over_twice(run):
    _, out, _ = run("""
loop = kamerton(vertex=[22, 2])
for _ in range(2):
    for number, attempt in enumerate(loop):
        print(value(attempt))
    print(number, attempt)
""")
    assert out == "0\n0 [5, 7]\n" * 2


def test_what_the_script_put_in_the_place_of_its_outputs_does_not_matter(run):
    _, out, _ = run("""
import io
shown, sys.stdout = sys.stdout, io.StringIO()
for attempt in kamerton(vertex=[22, 2]):
    print(value(attempt))
print(attempt, sys.stdout.getvalue().split(), file=shown)
""")
    assert out == "[5, 7] ['0']\n"


def test_progress_bars_and_empty_lines_do_not_hide_the_number(run):
    _, out, _ = run("""
for attempt in kamerton(vertex=[22, 2]):
    print("1/2", end="\\r")
    print("2/2", end="\\r" + str(value(attempt)) + "  \\n\\n")
print(attempt)
""")
    assert out.endswith("[5, 7]\n")


def test_it_needs_neither_ray_nor_tensorflow(run):
    _, out, _ = run("""
for attempt in kamerton(vertex=[22, 2], iterations=2):
    print(1)
print({"ray", "tensorflow"} & set(sys.modules))
""")
    assert out.splitlines()[-1] == "set()"


def test_an_attempt_is_a_list_with_names():
    assert Vertex([22, 2]) == [22, 2]
    assert (Vertex([22, 2]).intra_op, Vertex([22, 2]).inter_op) == (22, 2)
    with pytest.raises(AttributeError, match="only a pair"):
        Vertex([1, 2, 3]).inter_op  # noqa: B018


# --- TensorFlow ----------------------------------------------------------------------------------

KERAS = """
import timeit
import numpy as np
from kamerton_ray import set_threading
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
import tensorflow as tf

for attempt in kamerton({options}vertex=[2, 2], bounds=[(1, 2), (1, 2)], iterations=2):
    {first}
    model = tf.keras.Sequential([tf.keras.Input((32,)), tf.keras.layers.Dense(8)])
    print(attempt)
    data = np.random.rand(32, 32)
    print(timeit.timeit(lambda: model.predict(data, 32, verbose=0), number=1))
now = tf.config.threading
print([now.get_intra_op_parallelism_threads(), now.get_inter_op_parallelism_threads()] == attempt)
"""


@pytest.mark.parametrize(
    ("options", "first"),
    [("cb=set_threading, ", "pass"), ("", "set_threading(attempt)")],
    ids=["with cb", "without cb"],
)
def test_kamertons_readme_with_a_keras_model(run, options, first):
    code, out, err = run(KERAS.format(options=options, first=first))
    assert code == 0, err
    best, seconds, threads_are_set = out.splitlines()
    assert best in {f"[{intra}, {inter}]" for intra in (1, 2) for inter in (1, 2)}
    assert float(seconds) > 0
    assert threads_are_set == "True"


def test_a_runtime_that_has_started_is_an_error_before_anything_is_forked(run):
    code, out, err = run("""
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
import tensorflow as tf
tf.constant(1.0)
for attempt in kamerton(vertex=[2, 2]):
    print(1)
""")
    assert (code, out) == (1, "")
    assert "TensorFlow's runtime has already started" in err.splitlines()[-1]


# --- faults --------------------------------------------------------------------------------------

LATER = {
    "raises": ("raise ValueError('wrong')", "ValueError: wrong"),
    "exits": ("sys.exit(3)", "with code 3"),
    "ends": ("os._exit(0)", "with code 0"),
    "crashes": ("os.kill(os.getpid(), signal.SIGSEGV)", "by SIGSEGV"),
    "is killed": ("os.kill(os.getpid(), signal.SIGKILL)", "by SIGKILL"),
    "hangs": ("time.sleep(1000)", "longer than the timeout"),
    "prints nothing": ("continue", "it has printed nothing"),
    "prints rubbish last": ("print(1); print('bye'); continue", "the last line is 'bye'"),
    "prints no finite number": ("print('nan'); continue", "the last line is 'nan'"),
    "floods": ("while True: print('x' * 10**6)", "it printed too much"),
    "runs out of memory": ("raise MemoryError", "out of memory"),
}


@pytest.mark.parametrize("fault", LATER)
def test_a_later_attempt_that_fails_is_named_and_the_search_goes_on(run, tmp_path, fault):
    statement, named = LATER[fault]
    timeout = 1.5 if fault == "hangs" else 60
    code, out, err = run(f"""
try:
    for attempt in kamerton(vertex=FIRST, iterations=4, timeout={timeout}):
        if in_a_later_child(attempt):
            {statement}
        print(value(attempt))
    else:
        after()
finally:
    after()
print(attempt)
""")
    assert (code, out) == (0, "314\n[22, 2]\n")
    assert err.count("failed:") == 3
    assert err.count(named) == 3
    assert set((tmp_path / "after").read_text().split()) == {"script"}


@pytest.mark.parametrize("fault", ["raises", "is killed", "prints rubbish last"])
def test_the_first_attempt_has_to_work(run, fault):
    statement, named = LATER[fault]
    code, out, err = run(f"""
for attempt in kamerton(vertex=FIRST):
    {statement}
after()
""")
    assert (code, out) == (1, "")
    assert "kamerton_ray.errors.LoopError: the attempt [22, 2] failed" in err
    assert named in err
    assert not Path("after").exists()


@pytest.mark.parametrize("statement", ["break", "return attempt"])
def test_leaving_the_loop_ends_the_search(run, tmp_path, statement):
    code, out, _ = run(f"""
def search():
    try:
        for attempt in kamerton(vertex=FIRST):
            print(value(attempt))
            if attempt[0] <= 11:
                {statement}
        else:
            after()
    finally:
        after()
    after()
    return attempt
print(search(), [after()])
after()
""")
    assert code == 0
    assert set((tmp_path / "after").read_text().split()) == {"script"}
    left = out.splitlines()[-1]
    assert left.startswith("[11, ")


@pytest.mark.parametrize("number", ["print(5)", "0"])
def test_a_break_of_the_script_itself_counts_its_attempt_where_it_has_printed_a_number(run, number):
    code, out, _ = run(f"""
for attempt in kamerton(vertex=FIRST):
    if attempt != FIRST:
        {number}
        break
    print(314)
print(attempt)
""")
    assert code == 0
    assert (out.splitlines()[-1] == "[22, 2]") == (number == "0")


def test_an_exception_of_the_last_iteration_is_the_scripts_own(run):
    code, _, err = run("""
for attempt in kamerton(vertex=FIRST, iterations=2):
    print(value(attempt))
    if os.getpid() == SCRIPT:
        raise ValueError("mine")
""")
    assert code == 1
    assert err.splitlines()[-1] == "ValueError: mine"


def test_an_exception_that_the_script_would_catch_is_not_caught_in_an_attempt(run, tmp_path):
    code, out, err = run("""
class Guard:
    def __enter__(self):
        return self
    def __exit__(self, *_):
        after()
        return True
with Guard():
    for attempt in kamerton(vertex=FIRST, iterations=3):
        if in_a_later_child(attempt):
            raise ValueError("wrong")
        print(value(attempt))
print(attempt)
""")
    assert (code, out.splitlines()[-1]) == (0, "[22, 2]")
    assert err.count("ValueError: wrong") == 2
    assert set((tmp_path / "after").read_text().split()) == {"script"}


def test_a_process_that_the_body_forks_neither_reports_nor_stays(run):
    code, out, _ = run("""
for attempt in kamerton(vertex=[22, 2], iterations=12):
    if os.getpid() != SCRIPT and os.fork() == 0:
        if attempt[0] % 2:
            os.setsid()
            time.sleep(1000)
        print("from the fork")
        continue
    time.sleep(0.05)
    print(value(attempt))
print(attempt)
""")
    assert code == 0
    assert "fork" not in out


@pytest.mark.parametrize("where", ["the first attempt", "a later attempt"])
def test_ctrl_c_ends_the_script_and_every_attempt(start, tmp_path, where):
    process = start(f"""
for attempt in kamerton(vertex=FIRST):
    if attempt != FIRST or {where == "the first attempt"}:
        Path("running").touch()
        time.sleep(1000)
    print(value(attempt))
""")
    wait_for(tmp_path / "running")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert err.splitlines()[-1] == "KeyboardInterrupt"


def test_a_killed_script_leaves_no_process(start, tmp_path):
    process = start("""
for attempt in kamerton(vertex=FIRST):
    Path("running").touch()
    time.sleep(1000)
""")
    wait_for(tmp_path / "running")
    process.kill()
    process.communicate(timeout=60)


def wait_for(path):
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_three_hundred_attempts_leave_no_process_descriptor_or_file(run):
    code, out, err = run("""
import tempfile
def mine():
    children = Path(f"/proc/{SCRIPT}/task/{SCRIPT}/children").read_text()
    return len(list(Path("/proc/self/fd").iterdir())), children, sorted(os.listdir())
before, attempts = mine(), 0
def count(_):
    global attempts
    attempts += 1
while attempts < 300:
    for attempt in kamerton(vertex=[22, 2], callback=count):
        print(value(attempt))
print(mine() == before)
""")
    assert code == 0, err
    assert out.splitlines()[-1] == "True"


@pytest.mark.parametrize("how", ["-i", "-c"])
def test_an_interactive_session_is_told_what_to_use(how):
    code = "import sys; sys.ps1 = '> '\nfor a in __import__('kamerton_ray').kamerton(): pass"
    done = subprocess.run(
        [sys.executable, *(["-c"] if how == "-c" else ["-i", "-c"]), code],
        input="",
        capture_output=True,
        text=True,
        check=False,
    )
    assert "LoopError" in done.stderr
    assert "benchmark(build)" in done.stderr


def test_a_notebook_is_told_what_to_use(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipykernel", object())
    with pytest.raises(LoopError, match="notebook"):
        next(iter(kamerton(vertex=[1, 1])))


# --- the script is the user's --------------------------------------------------------------------


def test_more_open_files_than_select_can_count_do_no_harm(run):
    code, out, err = run("""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
kept = [open(os.devnull) for _ in range(1100)]
for attempt in kamerton(vertex=[5, 7], bounds=[(1, 8), (1, 8)], iterations=3):
    print(value(attempt))
""")
    assert (code, out) == (0, "0\n"), err


def test_a_script_that_ignores_the_end_of_children_keeps_its_search(run):
    code, out, err = run("""
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.signal(signal.SIGTERM, lambda *_: print("its own"))
for attempt in kamerton(vertex=[5, 7], bounds=[(1, 8), (1, 8)], iterations=3):
    assert signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
    assert callable(signal.getsignal(signal.SIGTERM))
    print(value(attempt))
""")
    assert (code, out) == (0, "0\n"), err
    assert "failed" not in err


class Named(NamedTuple):
    batch: int
    inter_op: int
    intra_op: int


@pytest.mark.parametrize(
    ("options", "highest"),
    [
        ({"cb": set_threading, "vertex": [2, 1]}, [4, 4]),
        ({"cb": set_threading, "vertex": [22, 2]}, [22, 4]),
        ({}, [4, 4]),
        ({"vertex": Named(8, 3, 2)}, [64, 4, 4]),
        ({"vertex": [2, 1]}, [64, 64]),
        ({"vertex": [22, 2]}, [88, 64]),
    ],
)
def test_thread_counts_reach_as_far_as_the_machine_and_others_farther(
    options, highest, monkeypatch
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    found = kamerton(**options).space
    assert [axis.values[-1] for axis in found.axes] == highest
    assert [axis.values[0] for axis in found.axes] == [1] * len(highest)


# --- bad input -----------------------------------------------------------------------------------


class Pair(NamedTuple):
    intra: int
    inter: int


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"vertex": [1.5, 2]}, "vertex must be integers"),
        ({"vertex": [0, 2]}, "vertex must lie within its bounds"),
        ({"vertex": [9, 2], "bounds": [(1, 8), (1, 8)]}, "vertex must lie within its bounds"),
        ({"vertex": [1, 2], "bounds": [(1, 8)]}, "bounds must be a pair"),
        ({"vertex": [1, 2], "bounds": [(1, 8), (1, 8, 9)]}, "bounds must be a pair"),
        ({"vertex": Pair(1, 2), "step_sizes": [1]}, "step_sizes must be one for each axis"),
        ({"vertex": [1, 2], "step_sizes": [1, 0.5]}, "step_sizes must be integers"),
        ({"vertex": [1, 2], "repeats": 0}, "repeats must be an integer from 1 up"),
        ({"vertex": [1, 2], "timeout": 0}, "timeout must be above 0"),
        ({"vertex": [1, 2], "iterations": 0}, "iterations must be an integer from 1 up"),
        ({"vertex": []}, "vertex must hold at least one integer"),
    ],
)
def test_a_bad_argument_is_refused_before_anything_is_forked(options, rule):
    with pytest.raises(InvalidInputError, match=rule):
        kamerton(**options)
