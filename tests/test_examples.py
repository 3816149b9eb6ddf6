"""Every example, and every snippet of the README and of docs/, is run as a user would run it."""

import importlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import nbclient
import nbformat
import psutil
import pytest

from kamerton_ray.report.exports import export

pytestmark = pytest.mark.docs

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch, ray_cluster):
    """Ray writes its results below the home directory, and uses the cluster that a user says.

    Of these a user has one or none; where none is said, a snippet would take any that it finds.
    """
    if (token := Path.home() / ".ray" / "auth_token").exists():  # newer ones of Ray want it
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("RAY_ADDRESS", ray_cluster.get_runtime_context().gcs_address)
    monkeypatch.delenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS")  # a user has them


def run(*command, cwd):
    """What a command prints; it has to succeed."""
    done = subprocess.run(
        [sys.executable, *command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "did not complete" not in done.stderr, done.stderr
    return done.stdout


def quadratic(folder):
    output = run(str(EXAMPLES / "quadratic.py"), cwd=folder)
    ends = re.findall(r"\{'x': 5, 'y': 7\} after (\d+) (?:points|trials): the best point", output)
    assert len(ends) == 2
    assert all(int(points) <= 35 for points in ends)


def train_lstm(folder):
    few = ("--trials", "1", "--no-compare")
    output = run(str(EXAMPLES / "train_lstm.py"), *few, cwd=folder)
    assert re.search(r"trial +1  intra_op=\d+ inter_op=\d+ +[\d.]+ ms", output)


def notebook(folder):
    pages = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    for cell in pages.cells:  # three short trials show as well that it runs
        cell.source = cell.source.replace("budget=10", "budget=3")
        cell.source = cell.source.replace("budget_s=2.0", "warmup_s=0.3, budget_s=0.4")
    ran = nbclient.NotebookClient(pages, timeout=200, resources={"metadata": {"path": folder}})
    table = ran.execute().cells[-2].outputs[0].data["text/plain"]
    assert "speedup_low" in table
    assert re.search(r"^\d+ +\d+ +\d+ +0\.\d+", table, re.MULTILINE)


def serve(folder):
    pytest.importorskip("ray.serve", reason="needs ray[serve]: pip install '.[serve]'")
    setting = {"instances": 2, "intra_op": 1, "inter_op": 2}
    tuned = folder / "tuned.json"
    tuned.write_text(export(setting, "json"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, str(EXAMPLES / "serve.py"), str(tuned), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert "answers" in server.stdout.readline()
        replies = [reply(port) for _ in range(20)]
        replicas = [psutil.Process(pid) for pid in {one["process"] for one in replies}]
        server.send_signal(signal.SIGINT)
        assert server.stdout.read() == "ended\n"
        assert server.wait() == 0
    assert len(replicas) == setting["instances"]
    assert psutil.wait_procs(replicas, timeout=60)[1] == []
    for one in replies:
        assert (one["intra_op"], one["inter_op"]) == (1, 2)
        assert one["classes"] == replies[0]["classes"]
    assert len(replies[0]["classes"]) == 8
    tuned.unlink()


def reply(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=60) as answer:
        return json.load(answer)


CHECKED = (quadratic, train_lstm, notebook, serve)
CHECKS = {check.__name__: check for check in CHECKED}
SMALL = "tf.keras.Sequential([tf.keras.Input((96, 96, 3)), tf.keras.layers.Conv2D(4, 3)])"
SMALLER = "lambda images: tf.reduce_sum(images)"
HELPERS = {"display"}  # imported by the examples


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_the_example_runs_and_leaves_no_file(name, tmp_path):
    before = sorted(EXAMPLES.iterdir())
    CHECKS[name](tmp_path)
    assert list(tmp_path.iterdir()) == []
    added = set(EXAMPLES.iterdir()) - set(before)
    assert {path.name for path in added} <= {"__pycache__"}


def test_no_example_is_left_out():
    scripts = {path.stem for path in EXAMPLES.iterdir() if path.suffix in {".py", ".ipynb"}}
    run_by_the_readmes_commands = set(
        re.findall(r"examples/(\w+)\.py", "\n".join(commands(pages())))
    )
    assert scripts == set(CHECKS) | HELPERS | run_by_the_readmes_commands


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OWN_FILE = re.compile(r"# (\w+\.py)\n")  # a snippet that begins so is to be written into that file


def pages():
    """The README and the pages of docs/."""
    return "\n".join(path.read_text() for path in PAGES)


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def snippets():
    return [code for code in blocks(pages(), "python") if not OWN_FILE.match(code)]


@pytest.mark.parametrize("number", range(len(snippets())))
def test_the_snippet_runs(number, tmp_path):
    # Some search to their end, which takes minutes; two short trials of a small model show as well
    # that they run.
    code = re.sub(r"num_samples=(-1|2|4)\b", "num_samples=2", snippets()[number])
    code = code.replace("vertex=[4, 4]", "vertex=[4, 4], iterations=2")
    model = SMALL if "predict" in code else SMALLER
    code = code.replace("tf.keras.applications.MobileNetV2((96, 96, 3), weights=None)", model)
    code = code.replace("verdict(analysis, trainable)", "verdict(analysis, trainable, budget_s=10)")
    code = code.replace("benchmark(build)\n", "benchmark(build, warmup_s=0.03, budget_s=0.06)\n")
    (tmp_path / "snippet.py").write_text(code)
    output = run("snippet.py", cwd=tmp_path)
    if "verdict(" in code:
        known = r"default \(95 %, \d+ fresh runs each\)|keep the default|a shared machine"
        in_short = "no time to compare the two|comparison with the default did not end"
        assert re.search(rf"({known}|{in_short})\.$", output)
    if "print(search.best.config" in code:
        assert re.search(r"\{.x.: 5, .y.: 7\} \d+ CONVERGED", output)


def test_the_search_benchmark_compares_and_keeps_what_it_ran(tmp_path):
    script, kept = str(ROOT / "benchmarks" / "search.py"), tmp_path / "runs.json"
    few = ("--surfaces", "3", "--seeds", "1", "--held-out")
    rivals = ("--only", "random", "Kamerton", "knows the surface", "--json", str(kept))
    run(script, *few, *rivals, cwd=tmp_path)
    output = run(script, *few, "--only", "kamerton_ray", "--also", str(kept), cwd=tmp_path)
    names = ["kamerton_ray", "random", "Kamerton", "knows the surface"]
    rows = re.findall(rf"^({'|'.join(names)}) .* (\d+)% .*$", output, re.MULTILINE)
    assert [name for name, _ in rows] == names


def test_the_search_benchmark_chooses_processes_under_a_constraint(tmp_path):
    few = ("--instances", "--surfaces", "2", "--seeds", "1", "--families")
    script = str(ROOT / "benchmarks" / "search.py")
    output = run(script, *few, "--only", "kamerton_ray", "random", "Kamerton", cwd=tmp_path)
    rows = re.findall(r"^(\w+) {2,}.* (\d+)% .*$", output, re.MULTILINE)
    assert [name for name, _ in rows] == ["kamerton_ray", "random"] * 2
    assert re.search(r"^  served: 2 searches each, on 2 surfaces$", output, re.MULTILINE)


def test_the_search_benchmark_reads_measured_tables_and_shows_the_final_answers(tmp_path):
    rows = [f"{i},{j},{1 + abs(i - 3) + j}" for i in range(1, 9) for j in range(1, 3)]
    (tmp_path / "model.csv").write_text("\n".join(["intra_op,inter_op,seconds", *rows]))
    script, searchers = str(ROOT / "benchmarks" / "search.py"), ("--only", "kamerton_ray", "random")
    output = run(script, "--tables", str(tmp_path), "--seeds", "2", *searchers, cwd=tmp_path)
    assert "2 knobs, 2% noise: 2 searches each, on 1 surfaces" in output
    ours, random = re.findall(r"^(?:kamerton_ray|random) +(\d+)±nan% ", output, re.MULTILINE)
    assert ours == "100"
    assert int(random) in {0, 50, 100}
    (tmp_path / "model.csv").unlink()


def test_the_search_benchmark_says_which_rival_it_leaves_out(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    for package in ("ConfigSpace", "smac", "ax.api.client"):
        monkeypatch.setitem(sys.modules, package, None)  # as if it was not installed
    search = importlib.import_module("search")
    assert search.installed(["SMAC3", "random", "Ax"]) == ["random"]
    said = capsys.readouterr().out
    assert re.findall(r"^(.+) is left out: .+", said, re.MULTILINE) == ["SMAC3", "Ax"]


def test_the_ablation_leaves_out_one_part_after_another(tmp_path):
    script = str(ROOT / "benchmarks" / "ablation.py")
    output = run(script, "--surfaces", "1", "--seeds", "1", cwd=tmp_path)
    parts = re.findall(r"^(the whole search|no .*?) {2,}.*%.*$", output, re.MULTILINE)
    assert parts[:8] == parts[8:]  # the final answers, and the first hits
    assert len(set(parts)) == 8


def commands(text):
    lines = [line for block in blocks(text, "console") for line in block.splitlines()]
    found = [line[2:].partition("#")[0].strip() for line in lines if "$ kamerton-ray " in line]
    return list(dict.fromkeys(found))


LESSONS = {path: commands(path.read_text()) for path in PAGES if path.parent.name == "tutorials"}
TAUGHT = {path: lines for path, lines in LESSONS.items() if lines}
ALONE = [line for line in commands(pages()) if all(line not in some for some in TAUGHT.values())]

ENDS = {
    "first-tuning": lambda folder: list(folder.glob("kamerton-ray/tune-*/report.html")),
    "serving": lambda folder: json.loads((folder / "tuned.json").read_text())["instances"],
    "training": lambda folder: list(folder.glob("kamerton-ray/exec-*/results.jsonl")),
}
"""What a tutorial's commands leave behind."""


@pytest.fixture
def workplace(tmp_path):
    """A folder with the examples, small and short: that shows as well that they run."""
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    for path in (tmp_path / "examples").glob("*.py"):
        large = "tf.keras.applications.MobileNetV2((SIZE, SIZE, 3), weights=None)"
        path.write_text(path.read_text().replace(large, SMALL).replace("1500", "10"))
    return tmp_path


def run_line(line, folder):
    """What a line prints that a page has a shell run; it searches for one short trial."""
    name = line.split()[1]
    searches = name in {"exec", "run", "tune"} and "--no-search" not in line
    few = ["--trials", "1", "--address", os.environ["RAY_ADDRESS"]] if searches else []
    few += ["--no-compare"] if searches and name != "run" else []
    few += ["--seconds", "0.3"] if name == "tune" else []
    line = line.replace(f" {name}", f" {shlex.join([name, *few])}", 1)
    # `python` is another one on the cluster's node.
    line = line.replace("-- python ", f"-- {sys.executable} ")
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-c", line], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("line", ALONE)
def test_the_command_runs(line, workplace):
    assert run_line(line, workplace)


@pytest.mark.parametrize("page", TAUGHT, ids=lambda page: page.stem)
def test_the_tutorial_runs_from_top_to_bottom(page, workplace):
    for code in blocks(page.read_text(), "python"):
        if named := OWN_FILE.match(code):
            short = code.replace("EPOCHS = 20", "EPOCHS = 1").replace("512", "32")
            (workplace / named[1]).write_text(short)
    for line in TAUGHT[page]:
        printed = run_line(line, workplace)
        assert printed or " > " in line
    assert ENDS[page.stem](workplace)


def test_the_readme_shows_the_commands():
    readme = (ROOT / "README.md").read_text()
    assert "make demo" in readme
    assert "make test" in readme


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("path", PAGES)
def test_every_link_to_a_file_leads_somewhere(path):
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text())
    files = [link for link in links if "://" not in link]
    assert [link for link in files if not (path.parent / link).exists()] == []


def test_no_path_of_a_machine_stands_in_the_repository():
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    home = re.compile(r"/(?:root|home/\w+)/")
    found = [
        name
        for name in tracked
        if name != "tests/test_examples.py"
        and home.search((ROOT / name).read_text(errors="replace"))
    ]
    assert found == []
