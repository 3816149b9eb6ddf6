"""The report: what it says, from every kind of results, and how its page looks in a browser."""

import csv
import itertools
import json
import math
import os
import re
import shutil
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
from click.testing import CliRunner
from findings import (
    BEST,
    DEFAULT,
    FAILURE,
    failed,
    fresh,
    instances,
    losses,
    lower,
    printed,
    results,
    together,
    trial,
    verdict,
)
from ray import cloudpickle as rays
from ray import tune

import kamerton_ray
from kamerton_ray import Decision, InvalidInputError, Objective, Verdict, report
from kamerton_ray.cli.commands import main
from kamerton_ray.report import tables
from kamerton_ray.report.about import About
from kamerton_ray.report.exports import FORM_NAMES, FORMS, export
from kamerton_ray.report.labels import unit_of
from kamerton_ray.report.report import Report
from kamerton_ray.trial.result import Result
from kamerton_ray.tune.session import Session
from kamerton_ray.tune.trainable import one_step
from kamerton_ray.tune.work import Work

for pickler, name in itertools.product((cloudpickle, rays), (__name__, "findings")):
    pickler.register_pickle_by_value(sys.modules[name])

HOSTILE = "<script>document.title='owned'</script>"
TEMPLATE = (Path(kamerton_ray.__file__).parent / "report" / "report.html.j2").read_text()
TUNED = {"target": "model.py:build", "objective": "speedup", "limits": []}
SECTIONS = (
    *("answer", "fresh", "trade-offs", "apply", "measured"),
    *("failures", "hardware", "method", "reading"),
)


def session_of(folder, kind, description, found, answer=None):
    """A session's folder as the command line leaves it."""
    session = Session.create(folder, kind, description)
    for one in found:
        session.add(Result.of(one))
    if answer is not None:
        session.conclude({**answer.to_json(rounds=True), "stopped_by": "it was told to"})
    return session.folder


@pytest.fixture
def session(tmp_path):
    """A session of `kamerton-ray tune` that came to its end."""
    return session_of(tmp_path, "tune", TUNED, results(), verdict())


# --- what it says --------------------------------------------------------------------------------


ON_ONE_PAGE, OF_ONE_RUN, OF_THE_PAGES = map(
    pytest.mark.xdist_group, ("one page", "one run", "the pages")
)
"""Tests that share what takes long to make are run by the same worker, which makes it once."""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page on a session of `kamerton-ray tune`."""
    return report(
        session_of(tmp_path_factory.mktemp("page"), "tune", TUNED, results(), verdict())
    ).html()


@ON_ONE_PAGE
def test_the_page_says_the_answer_its_reasons_and_everything_else(page):
    assert f"<h1>{verdict().sentence.replace(chr(39), '&#39;')}</h1>" in page
    assert "It was preferred for its fewer threads." in page
    assert "kamerton-ray tune model.py:build" in page
    assert "ended: it was told to." in page
    assert "build raised an exception" in page
    assert "simulated" in page
    for form in FORMS:
        assert FORM_NAMES[form] in page
        assert export(BEST, form).splitlines()[0].replace('"', "&#34;") in page


def test_every_form_of_an_export_has_its_name():
    assert set(FORM_NAMES) == set(FORMS)


def test_a_verdict_given_or_kept_by_the_session_says_the_same(session):
    assert report(session).text() == report(results(), verdict()).text()


def test_a_verdict_comes_back_from_its_json():
    elsewhere = (verdict(machine={"cpu_model": "other"}, rounds=[]),)
    found = verdict(elsewhere=elsewhere)
    answer = json.loads(json.dumps({**found.to_json(rounds=True), "trials": 9}))
    back = Verdict.from_json(answer)
    assert back.to_json() == found.to_json()
    assert back.rounds == found.rounds
    unsure = Verdict(decision=Decision.UNSURE, sentence="?")
    assert math.isnan(Verdict.from_json(unsure.to_json()).speedup)


def test_the_default_is_kept_where_nothing_beat_it():
    kept = verdict(decision=Decision.KEEP, sentence="Keep it.")
    page = report(results(), kept).html()
    assert "Keep the default" in page
    assert "Set nothing" in page
    assert export(BEST, "env").splitlines()[0] not in page


def test_what_was_not_decided_in_time_is_said_to_be_so():
    page = report(results(), verdict(decision=Decision.UNSURE, race_rounds=0)).html()
    assert "Undecided so far" in page
    assert re.search(r"Then the search.{1,5}s best met TensorFlow", page)
    assert "0 times to choose" not in page
    without = report(results(), Verdict(decision=Decision.UNSURE, sentence="?", rounds=[[]])).html()
    assert "Not compared to the end" in without


@OF_THE_PAGES
def test_results_without_a_verdict_are_the_searchs_and_say_so(page_of):
    told = report(results())
    assert told.sentence == (
        "intra_op=1 inter_op=1 was the best of the search (1.29x), which flatters itself: it was "
        "not compared afresh with the default."
    )
    page = page_of("searched").read_text()
    assert "Not compared" in page
    assert "do that\n  before you rely on it" in page


def test_a_session_that_has_not_ended_reports_what_is_there(tmp_path):
    folder = session_of(tmp_path, "exec", {"argv": ["true"], "objective": "last"}, [])
    with pytest.raises(InvalidInputError, match="at least one trial"):
        report(folder)
    Session.open(folder).add(Result.of(printed(3.0, **DEFAULT)))
    Session.open(folder).add(Result.of(printed(2.0, **BEST)))
    assert "(1.50x)" in report(folder).sentence


@pytest.mark.parametrize(
    ("described", "metric", "best"),
    [
        ({"objective": "time"}, "seconds", "intra_op=2"),
        ({"objective": "time", "combine": "slowest"}, "seconds", "intra_op=2"),
        (
            {"objective": "time", "combine": "per-program"},
            "seconds_per_program",
            "intra_op=1",
        ),
        ({"objective": "last"}, "objective", "intra_op=1"),
        ({"objective": "last", "maximize": True}, "objective", "intra_op=2"),
    ],
)
def test_a_command_is_judged_by_what_it_was_run_for(tmp_path, described, metric, best):
    found = [
        {**printed(3.0, **DEFAULT), "seconds_per_program": 1.0},
        {**printed(2.0, **BEST), "seconds": 1.5, "seconds_per_program": 0.75},
    ]
    folder = session_of(tmp_path, "exec", {"argv": ["true", "a b"], **described}, found)
    told = report(folder)
    assert told.parts[0].measured.objective.metric == metric
    assert told.sentence.startswith(best)
    assert told.parts[0].measured.baseline.config == DEFAULT


def test_the_page_on_a_command_says_what_was_run_and_what_the_ratios_are_to(tmp_path):
    found = [printed(3.0, **DEFAULT), printed(2.0, **BEST)]
    folder = session_of(tmp_path, "exec", {"argv": ["true", "a b"], "objective": "last"}, found)
    page = report(folder).html()
    assert "1.00 is the trial of intra_op=2 inter_op=2, TensorFlow&#39;s default" in page
    assert "kamerton-ray exec -- true &#39;a b&#39;" in page


def test_a_loop_is_measured_against_the_vertex_it_begins_with(tmp_path):
    found = [{**printed(9.0, intra_op=6, inter_op=3), "machine": None}, printed(3.0, **BEST)]
    goal = {"space": {}, "starts": [{"intra_op": 6, "inter_op": 3}], "metric": "", "mode": "min"}
    folder = session_of(tmp_path, "run", {"script": "loop.py", "args": [], "goal": goal}, found)
    (part,) = report(folder).parts
    assert part.measured.best.gain == pytest.approx(3.0)
    assert str(part.measured.baseline).endswith("with which the search began")


def test_where_nothing_worked_the_reason_is_said_once_and_the_rest_below():
    told = report([failed(place=1, **DEFAULT), failed(place=2, **BEST)])
    assert told.sentence == f"No trial worked. {FAILURE}"
    page = told.html()
    assert "<h1>No trial worked. build raised an exception</h1>" in page
    assert "&lt;b&gt;no&lt;/b&gt; &amp; $\\frac{1}{0}$" in page
    assert "nothing to draw" in page
    assert "no trial worked" in page


def test_machines_of_different_kinds_are_told_apart():
    small = {"cpu_model": "small", "usable_cpus": 4}
    other = [
        {**one, "machine": small}
        for one in (trial(2.0, place=1, **DEFAULT), trial(3.0, place=2, **BEST))
    ]
    elsewhere = verdict(machine=small, sentence="Another answer.", rounds=[])
    told = report([*results(), *other], verdict(elsewhere=(elsewhere,)))
    assert [part.sentence for part in told.parts] == [verdict().sentence, "Another answer."]
    assert [len(part.measured.results) for part in told.parts] == [9, 2]
    assert "On cpu_model small, usable_cpus 4: Another answer." in told.text()
    assert told.html().count("<h2>What was measured on cpu_model") == 2


def test_where_there_are_no_ratios_gains_are_differences_in_the_metrics_unit(tmp_path):
    told = report(losses(np.float32), lower(), objective=Objective(metric="loss"))
    page = told.html()
    assert "<dd>0.7</dd>" in page
    assert "lower in loss than the default" in page
    assert "0.69 to 0.71" in page
    assert re.search(r"lower by</th>\s*.*fresh runs</th>\s*.*loss</th>", page)
    assert "Blue is better than the trial of intra_op=2 inter_op=2, TensorFlow&#39;s def" in page
    assert re.search(r"^ +lower by +fresh runs +loss$", told.text(), re.MULTILINE)
    assert re.search(r"^intra_op=1 inter_op=1 +0\.7 +13 +-0\.195$", told.text(), re.MULTILINE)
    assert re.search(r"^TensorFlow's default +0 +13 +0\.51$", told.text(), re.MULTILINE)
    told.save(csv=tmp_path / "t.csv")
    with (tmp_path / "t.csv").open() as file:
        gains = [round(float(line["gain"]), 6) for line in csv.DictReader(file)]
    assert gains == [0.0, 0.5, 0.7, -0.3]
    rows = told.to_json()["parts"][0]["configurations"]
    assert [row["value"] for row in rows] == pytest.approx([-0.2, 0.0, 0.5, 0.8])


def test_a_searchs_best_loss_is_told_by_its_value():
    told = report(losses(), objective=Objective(metric="loss"))
    assert told.sentence.startswith(
        "intra_op=1 inter_op=1 was the best of the search (loss -0.2), which flatters itself"
    )
    assert re.search(r"^ +loss +95 % interval$", told.text(), re.MULTILINE)


def test_a_verdict_of_differences_comes_back_from_its_json():
    back = Verdict.from_json(json.loads(json.dumps(lower().to_json())))
    assert (back.difference, back.ratios) == (0.7, False)
    assert math.isnan(back.speedup)


def test_a_limit_on_what_nobody_reports_is_refused():
    limited = Objective(at_most={"latency": 1.0})
    with pytest.raises(InvalidInputError, match=r"must report 'latency' .* report \['cpu_seconds"):
        report(results(), objective=limited)


@OF_THE_PAGES
def test_the_pareto_set_holds_what_no_other_beats(page_of):
    page = page_of("instances").read_text()
    (table,) = re.findall(r"Pareto set</h3>.*?</table>", page, re.DOTALL)
    names = re.findall(r'<th scope="row">([^<]+?)\s*<', table)
    assert names == [
        "2 instances of intra_op=1 inter_op=1",
        "1 instance of intra_op=1 inter_op=1",
    ]
    assert "p99 (ms)" in table
    assert "throughput (steps/s)" in table
    assert "CPU time (ms)" in table
    assert '2.02x <span class="ends">[1.98, 2.06]</span>' in table
    assert re.search(r'>26 <span class="ends">\[26(\.\d+)?, 26\.\d+\]<', table)
    assert "The line joins those that trade the one for the other beyond theirs" in page


def test_where_no_two_of_the_fresh_runs_differ_nothing_is_traded_off():
    costs = {"seconds": 0.02, "seconds_p99": 0.023, "throughput": 50.0, "cpu_seconds": 0.03}
    told = together()
    same = together(
        table=tuple(replace(row, **costs) for row in told.table),
        rounds=[
            [fresh(one.config, costs, n) for n, one in enumerate(some, place)]
            for place, some in enumerate(told.rounds)
        ],
    )
    page = report(instances(), same).html()
    assert "Pareto set</h3>" not in page
    assert re.search(r"Nothing is traded off: no two of the fresh runs.{1,5} configurations", page)
    assert re.search(r"so there is no trade-off and\s+no line", page)


def test_csv_has_a_line_for_each_trial_and_json_everything(session, tmp_path):
    told = report(session)
    told.save(csv=tmp_path / "t.csv", json=tmp_path / "sub" / "t.json", png=tmp_path / "pictures")
    with (tmp_path / "t.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(results())
    assert (lines[3]["config/intra_op"], lines[3]["gain"]) == ("1", "1.3")
    assert lines[3]["machine/usable_cpus"] == "2"
    assert lines[7]["outcome"] == "build_raised"
    found = json.loads((tmp_path / "sub" / "t.json").read_text(), parse_constant=pytest.fail)
    assert found["sentence"] == verdict().sentence
    assert found["parts"][0]["verdict"]["speedup"] == 1.3
    assert found["parts"][0]["configurations"][0]["config"] == BEST
    assert found["trials"][7]["gain"] is None
    pictures = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    names = ("map", "rounds", "speedups", "trade_off", "trials")
    assert pictures == [f"{name}.png" for name in names]


def test_the_template_and_both_names_are_shipped():
    assert kamerton_ray.report is report
    folder = Path(kamerton_ray.__file__).parent
    assert (folder / "report" / "report.html.j2").is_file()


def told_as(gain, **more):
    """A verdict whose final has found this gain, for what the search says 1.29x of."""
    table = tuple(replace(row, gain=gain if row.config else 1.0) for row in verdict().table)
    ends = {"low": gain - 0.03, "high": gain + 0.03}
    return verdict(speedup=gain, table=table, sentence="An answer.", **ends, **more)


def shown_texts(page):
    """What a page shows as text, in its pictures too, but for how to read it."""
    body = page[page.index("<body>") : page.index('<section class="reading">')]
    return re.findall(r">([^<>]+)<", re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL))


def test_a_configuration_has_one_gain_on_the_page_that_of_its_fresh_runs():
    page = report(results(), told_as(1.17)).html()
    searched = re.compile(r'<svg role="img" aria-label="The search.*?</svg>', re.DOTALL)
    assert searched.search(page)  # the search's best so far, and called so
    texts = shown_texts(searched.sub("", page))
    gains = {one for text in texts for one in re.findall(r"\b1\.(?:1[6-8]|29|3\d)x?", text)}
    assert gains == {"1.17x", "1.17"}  # the map has no room for the x
    assert sum("1.17x" in text for text in texts) == 4  # above all, in a table, and both pictures
    (first,) = re.findall(r'<dl class="facts fresh-runs">\s*<div>.*?<dd>(.*?)</dd>', page)
    assert first == "1.17x"


def test_what_is_slower_is_said_to_be_and_is_no_best():
    told = report(results(), told_as(0.91, decision=Decision.KEEP))
    page = told.html()
    assert "<dt>than the default, intra_op=1 inter_op=1</dt><dd>0.91x, slower</dd>" in page
    assert '<span class="mark">chosen for the final</span>' in page
    assert 'class="strong"' not in page
    assert "0.91x" not in " ".join(shown_texts(page)).replace("0.91x, slower", "")
    assert not any(re.match(r"best\b", text) for text in shown_texts(page))
    assert re.search(r"^intra_op=1 inter_op=1 +0\.91x, slower +13 ", told.text(), re.MULTILINE)


WORK = Work(
    command="kamerton-ray tune model.py:build --instances auto",
    began=1_700_000_000.0,
    system="An OS 1, Linux 6",
    python="3.12.1",
    ray="2.50.0",
    tensorflow="2.20.0",
    load=0.25,
    seconds=75.0,
    load_after=1.75,
)


def test_the_header_has_the_command_and_on_what_it_ran(tmp_path):
    found = [{**one, "others": 0.1 * place} for place, one in enumerate(results())]
    session = Session.open(session_of(tmp_path, "tune", TUNED, found, verdict()))
    session.begin(replace(WORK, seconds=math.nan, load_after=math.nan))
    unended = report(session.folder).html()
    assert "at least" not in unended
    assert "total time" not in unended
    session.begin(WORK)
    page = report(session.folder).html()
    header = page[page.index("<header>") : page.index("</header>")]
    assert header.count(f'<pre class="wrapped">{WORK.command}</pre>') == 2
    told = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", header[: header.index("<section")]))
    assert re.fullmatch(r"2023-11-1[45] \d\d:\d\d", told.pop("date"))
    assert told == {
        "system": "An OS 1, Linux 6",
        "Python": "3.12.1",
        "Ray": "2.50.0",
        "TensorFlow": "2.21.0",  # the trials' own
        "load average": "0.2 before, 1.8 at the end",
        "other work": "0.4 CPUs in the median, 0.8 at most",
        "total time": "at least 1 min 15 s",
    }


@ON_ONE_PAGE
def test_a_session_from_before_that_was_written_down_lacks_it_and_has_the_rest(page):
    header = page[page.index("<header>") : page.index("</header>")]
    assert '<pre class="wrapped">kamerton-ray tune model.py:build</pre>' in header
    assert 'class="ran"' not in header
    assert "<dd>1.30x</dd>" in header


@ON_ONE_PAGE
def test_without_a_script_there_is_no_button_and_all_is_there(page):
    assert "<button" not in page
    assert page.count('<div class="copied">') == 1 + len(FORMS)
    assert "Scrolls sideways" not in page[: page.index("<script>")]


# --- instances -----------------------------------------------------------------------------------


@OF_THE_PAGES
def test_of_instances_a_gain_is_a_number_of_steps(page_of):
    told = report(instances(), together())
    page = page_of("instances").read_text()
    assert "<dt>the steps of the default</dt><dd>2.02x</dd>" in page
    assert "faster" not in page
    assert "how many times the steps" in page
    heads, first, *_ = told.text().splitlines()[2:]
    assert re.match(r" +times the steps +fresh runs +throughput \(steps/s\) +p99 \(ms\)", heads)
    assert re.fullmatch(r"2 instances of intra_op=1 inter_op=1 +2\.02x +13 +101 +26 +20", first)


def test_cpus_and_memory_stand_beside_the_costs_but_choose_none():
    (part,) = report(instances(), together()).parts
    fresh, searched = tables.costs(part), tables.trade_offs(part)
    assert fresh.heads[-2:] == searched.heads[-2:] == ["CPUs busy", "memory per process (MB)"]
    assert fresh.rows[0][2][-2:] == ["1.4", "325"]
    assert [name for name, *_ in searched.rows] == [
        "2 instances of intra_op=1 inter_op=1",
        "1 instance of intra_op=1 inter_op=1",
    ]
    assert tables.traded(part) == "time, p99, throughput or CPU time"


def test_a_table_that_was_written_before_them_has_neither_cpus_nor_memory():
    answer = together().to_json()
    for row in answer["table"]:
        del row["cpus"], row["memory"]
    back = Verdict.from_json(answer)
    assert all(math.isnan(row.cpus) and math.isnan(row.memory) for row in back.table)
    (part,) = report(instances(), back).parts
    assert tables.costs(part).heads[-1] == "CPU time (ms)"


@pytest.mark.parametrize(
    ("sizes", "unit"), [((3.25e8, 9e8), (1e-6, "MB")), ((math.nan, 2.5e9), (1e-9, "GB"))]
)
def test_memory_is_counted_in_what_reads_best(sizes, unit):
    assert unit_of("memory", sizes) == unit


def test_large_numbers_have_no_power_of_ten():
    rows = [replace(row, throughput=12345.6) for row in together().table]
    (part,) = report(instances(), together(table=tuple(rows))).parts
    assert tables.finalists(part).rows[0][2][-1] == "12346"


def test_an_answer_to_instances_that_was_not_compared_is_the_searchs():
    told = report(instances())
    assert told.sentence.startswith(
        "2 instances of intra_op=1 inter_op=1 was the best of the search (2.00x)"
    )
    assert "times the steps of" in told.html()


# --- the command line ----------------------------------------------------------------------------


def run(*args, code=0, first=""):
    """`kamerton-ray report`, in a process of its own."""
    program = (
        f"{first}\nfrom kamerton_ray.cli.commands import main\n"
        f"main(['report', *{list(map(str, args))}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def test_the_command_prints_the_answer_and_writes_a_page(session):
    out, err = run(session)
    assert out.startswith(f"{verdict().sentence}\n  It was preferred")
    assert re.search(r"^intra_op=1 inter_op=1 +1\.30x +13 ", out, re.MULTILINE)
    assert f"Written: {session / 'report.html'}" in err
    assert (session / "report.html").read_text().startswith("<!doctype html>")


def test_the_command_writes_only_what_is_asked_for(session, tmp_path):
    run(session, "--csv", tmp_path / "t.csv")
    assert (tmp_path / "t.csv").is_file()
    assert not (session / "report.html").exists()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["nowhere"], "does not exist"),
        (["."], "neither"),
        (["{session}", "--mode", "min"], "needs one"),
        (["{session}", "--metric", "loss"], "must report 'loss'"),
        (["{session}", "--csv", "/proc/no/trials.csv"], "cannot be written"),
    ],
)
def test_a_mistake_is_said_in_a_sentence(session, args, said):
    done = CliRunner().invoke(main, ["report", *(arg.format(session=session) for arg in args)])
    assert done.exit_code == 2
    assert said in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize("missing", ["matplotlib", "jinja2"])
def test_without_the_extra_it_answers_and_says_what_to_install(session, missing):
    out, err = run(session, code=2, first=f"import sys; sys.modules[{missing!r}] = None")
    assert out.startswith(verdict().sentence)
    assert "pip install 'kamerton_ray[report]'" in err


# --- runs of Ray Tune ----------------------------------------------------------------------------


class Simulated:
    """Measures nothing: the more threads the slower, and three fail."""

    def measure(self, config):
        intra, inter = config["threads"]["intra_op"], config["threads"]["inter_op"]
        worked = intra != 3
        found = trial(2.0 / (intra + inter) if worked else math.nan, place=0, config=config)
        ended = {"outcome": "ok" if worked else "exited", "error": "" if worked else "sorry"}
        return Result.of({**found, **ended})

    def close(self):
        """Nothing is open."""


@pytest.fixture(scope="module")
def grid(ray_cluster, tmp_path_factory):  # noqa: ARG001 - the cluster has to be there
    """The `ResultGrid` of a run with Ray's own TensorBoard logger."""
    from ray.tune.logger import JsonLoggerCallback, TBXLoggerCallback

    space = {"threads": {"intra_op": tune.grid_search([1, 2, 3]), "inter_op": 1}, "batch": 8}
    tuner = tune.Tuner(
        one_step("Simulated", Simulated),
        param_space=space,
        tune_config=tune.TuneConfig(metric="speedup", mode="max", reuse_actors=True),
        run_config=tune.RunConfig(
            storage_path=str(tmp_path_factory.mktemp("ray")),
            name="run",
            callbacks=[JsonLoggerCallback(), TBXLoggerCallback()],
            verbose=0,
        ),
    )
    return tuner.fit()


@OF_ONE_RUN
def test_rays_own_results_and_their_folder_are_reported(grid):
    analysis = tune.ExperimentAnalysis(grid.experiment_path)
    for given in (grid, analysis, grid.experiment_path):
        told = report(given)
        assert told.sentence.startswith("threads/intra_op=1 was the best of the search (1.00x)")
    assert "a run of Ray Tune" in told.html()
    out, _ = run(grid.experiment_path, "--csv", f"{grid.experiment_path}/t.csv")
    assert "which flatters itself" in out


@pytest.mark.usefixtures("ray_cluster")
def test_a_folder_of_numpys_numbers_below_zero_is_reported(tmp_path, monkeypatch):
    # Ray's own JSON, which users have; in the run's state such numbers are pickles.
    monkeypatch.delenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS")

    def trainable(config):
        return {"loss": np.float32(config["x"] - 2), "epochs": np.int64(3), "good": config["x"] < 2}

    tuner = tune.Tuner(
        trainable,
        param_space={"x": tune.grid_search([1, 2, 3])},
        tune_config=tune.TuneConfig(metric="loss", mode="min", max_concurrent_trials=1),
        run_config=tune.RunConfig(storage_path=str(tmp_path), name="run", verbose=0),
    )
    grid = tuner.fit()
    for given in (grid, f"{tmp_path}/run"):
        told = report(given, objective=Objective(metric="loss"))
        assert told.sentence.startswith("x=1 was the best of the search (loss -1)")
        found = told.to_json()
        rows = found["parts"][0]["configurations"]
        assert [(row["config"]["x"], row["value"], row["gain"]) for row in rows] == [
            (1, -1, 1),
            (2, 0, 0),
            (3, 1, -1),
        ]
        assert {one["epochs"] for one in found["trials"]} == {3}
        assert "x=1" in told.html()


@OF_ONE_RUN
def test_rays_own_metric_counts_unless_another_is_asked_for(grid):
    assert report(grid).parts[0].measured.objective.metric == "speedup"
    asked = report(grid, objective=Objective(metric="seconds_p99"))
    assert asked.parts[0].measured.objective.metric == "seconds_p99"


@OF_ONE_RUN
def test_dataframes_have_the_columns_that_rays_users_expect(grid):
    analysis = tune.ExperimentAnalysis(grid.experiment_path)
    for frame in (grid.get_dataframe(), analysis.dataframe()):
        expected = {
            *("config/threads/intra_op", "config/threads/inter_op", "config/batch"),
            *("seconds", "seconds_p99", "throughput", "cpu_seconds", "default_seconds"),
            *("speedup", "speedup_low", "speedup_high", "outcome", "error"),
            *("machine/cpu_model", "machine/usable_cpus", "trial_id", "time_total_s", "logdir"),
        }
        assert expected <= set(frame.columns)
        best = frame.sort_values("speedup").iloc[-1 - int(frame["speedup"].isna().sum())]
        assert best["config/threads/intra_op"] == 1
        assert list(frame[frame["speedup"].isna()]["outcome"]) == ["exited"]


def events_of(path):
    """The events of a TensorBoard file: length, checksum, event, checksum (TFRecord)."""
    from tensorboardX.proto.event_pb2 import Event

    data, at = path.read_bytes(), 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        yield Event.FromString(data[at + 12 : at + 12 + length])
        at += 16 + length


@OF_ONE_RUN
def test_tensorboards_hparams_show_a_run_by_its_names(grid):
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    shown, scalars = {}, {}
    for result in grid:
        (path,) = Path(result.path).glob("events.out.tfevents.*")
        for value in itertools.chain.from_iterable(e.summary.value for e in events_of(path)):
            if value.metadata.plugin_data.plugin_name != "hparams":
                scalars.setdefault(result.path, {})[value.tag] = value.simple_value
                continue
            content = HParamsPluginData.FromString(value.metadata.plugin_data.content)
            found = {k: v.number_value for k, v in content.session_start_info.hparams.items()}
            metrics = {one.name.tag for one in content.experiment.metric_infos}
            shown.setdefault(result.path, []).append((found, metrics))
    for result in grid:
        hparams = {name: v for found, _ in shown[result.path] for name, v in found.items()}
        metrics = set().union(*(metrics for _, metrics in shown[result.path]))
        assert hparams == {"threads/intra_op": result.config["threads"]["intra_op"]}
        if result.metrics["outcome"] == "ok":
            assert {
                "ray/tune/speedup",
                "ray/tune/seconds",
                "ray/tune/machine/usable_cpus",
            } <= metrics
            told = scalars[result.path]["ray/tune/speedup"]
            assert told == pytest.approx(result.metrics["speedup"])
        else:
            assert "ray/tune/speedup" not in scalars.get(result.path, {})


# --- the page in a browser -----------------------------------------------------------------------

SIZES = {"light": (1280, "light"), "dark": (1280, "dark"), "phone": (375, "light")}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Headless Chromium, with a log of what it fetches."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    found = shutil.which("chromium"), shutil.which("chromedriver")
    if None in found:
        if os.environ.get("CI") == "true":
            pytest.fail("chromium and chromedriver must be installed where CI=true")
        pytest.skip("needs chromium and chromedriver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = found[0]
    for name in (
        *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"),
        *("disable-background-networking", "disable-component-update", "disable-sync"),
        f"user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(f"--{name}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(found[1]))
    driver.get("about:blank")  # the browser's own first page fetches, too
    yield driver
    driver.quit()


def hostile():
    """Three parameters whose names and whose errors are not harmless."""
    names = (HOSTILE, r"$\frac{1}{0}$", "&amp;<img src=x onerror=alert(1)>")
    found = [
        trial(1 + number / 20, place=number, **dict(zip(names, values, strict=True)))
        for number, values in enumerate([(1, 1, 1), (2, 3, 4), (3, 1, 5), (4, 2, 2)], 1)
    ]
    found.append({**found[0], "speedup": math.nan, "outcome": HOSTILE, "error": HOSTILE})
    best = found[3]["config"]
    return report(found, verdict(best, sentence=f"{HOSTILE} is best.", reasons=(HOSTILE,)))


def crowded():
    """As many configurations and as long names as a search may bring."""
    found = [
        trial(
            1 + math.sin(number) / 3,
            place=number,
            intra_op=1 + number * number % 53,
            inter_op=1 + number % 9,
            A_KNOB_WITH_A_RATHER_LONG_NAME=number % 7,
        )
        for number in range(1, 60)
    ]
    return report(found, verdict(found[7]["config"]))


def values_only():
    """A search for numbers of which there are no ratios."""
    return report([printed(v, intra_op=v + 1, inter_op=1 + v % 2) for v in range(6)])


def ran():
    """A session with a long command, of which all is known, and which keeps the default."""
    work = replace(WORK, command=f"{WORK.command} {'--knob A_RATHER_LONG_NAME=1:9 ' * 9}")
    about = About(kind="tune", target=("model.py:build",), work=(work,))
    return Report(parts=report(results(), told_as(0.91, decision=Decision.KEEP)).parts, about=about)


PAGES = {
    "ran": ran,
    "usual": lambda: report(results(), verdict()),
    "searched": lambda: report(results()),
    "hostile": hostile,
    "crowded": crowded,
    "values": values_only,
    "instances": lambda: report(instances(), together()),
    "losses": lambda: report(losses(), lower(), objective=Objective(metric="loss")),
}


@pytest.fixture(scope="module")
def page_of(tmp_path_factory):
    """The file with one of them, which is written when it is first asked for."""
    folder = tmp_path_factory.mktemp("pages")

    def go(name):
        path = folder / f"{name}.html"
        if not path.exists():
            PAGES[name]().save(html=path)
        return path

    return go


@pytest.fixture
def open_page(browser, page_of):
    """Open one of them in a size and colour scheme."""
    from selenium.webdriver.support.ui import WebDriverWait

    def go(name, size="light"):
        width, scheme = SIZES[size]
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        browser.get_log("performance")  # what came before is read, and so forgotten
        browser.get(page_of(name).as_uri())
        # On a busy machine it has come back with the first half of a long page.
        WebDriverWait(browser, 30).until(
            lambda page: page.execute_script("return document.readyState") == "complete"
        )
        return browser

    return go


@OF_THE_PAGES
@pytest.mark.parametrize("page", PAGES)
def test_every_section_has_content_and_nothing_is_fetched(open_page, page):
    driver = open_page(page)
    sections = driver.execute_script(
        "return [...document.querySelectorAll('section')].map(s => [s.className,"
        " [...s.children].slice(1).map(e => e.innerText).join(' ').trim().length])"
    )
    assert [name for name, _ in sections] == list(SECTIONS)
    assert all(length > 10 for _, length in sections)
    sent = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    urls = [
        one["params"]["request"]["url"]
        for one in sent
        if one["method"] == "Network.requestWillBeSent"
    ]
    assert urls
    assert all(url.startswith(("file:", "data:")) for url in urls)
    assert [url for url in urls if url.startswith("file:")] == [driver.current_url]


OVERFLOWING = """
const wide = [...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll, pre') &&
    e.getClientRects().length && e.getBoundingClientRect().right > innerWidth + 0.5);
const page = document.documentElement;
return [page.scrollWidth > page.clientWidth, wide.map(e => e.outerHTML.slice(0, 80))];
"""

OVERLAPPING = """
const found = [];
for (const svg of document.querySelectorAll('.chart svg')) {
    const frame = svg.getBoundingClientRect();
    if (!frame.width) continue;
    const boxes = [...svg.querySelectorAll('text')].flatMap(text =>
        text.querySelector('tspan') ? [...text.querySelectorAll('tspan')] : [text]
    ).map(text => {
        const box = text.getBoundingClientRect();
        const inset = 0.2 * Math.min(box.height, box.width);  // above and below the letters
        return {said: text.textContent, left: box.left + 1, right: box.right - 1,
                top: box.top + inset, bottom: box.bottom - inset};
    });
    boxes.forEach((a, i) => {
        if (a.left < frame.left - 2 || a.right > frame.right + 2) found.push([a.said, 'cut off']);
        boxes.slice(i + 1).forEach(b => {
            if (a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom)
                found.push([a.said, b.said]);
        });
    });
}
return found;
"""


@OF_THE_PAGES
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("page", PAGES)
def test_nothing_overflows_or_overlaps(open_page, page, size):
    driver = open_page(page, size)
    assert driver.execute_script(OVERFLOWING) == [False, []]
    assert driver.execute_script(OVERLAPPING) == []


SCROLLS = """
document.querySelectorAll('details').forEach(one => { one.open = true; });
dispatchEvent(new Event('resize'));
const seen = [...document.querySelectorAll('body *')].filter(e => e.getClientRects().length);
const scrolling = seen.filter(e => e.scrollWidth > e.clientWidth + 1 &&
    getComputedStyle(e).overflowX !== 'visible' && e.clientWidth);
return [
    scrolling.filter(e => !e.matches('.scroll, pre')).map(e => e.outerHTML.slice(0, 80)),
    scrolling.filter(e => !getComputedStyle(e).backgroundAttachment.includes('local')).length,
    seen.filter(e => e.matches('.scroll')).map(e => [
        scrolling.includes(e), !!e.nextElementSibling.getClientRects().length]),
];
"""


@OF_THE_PAGES
@pytest.mark.parametrize("size", ["light", "phone"])
@pytest.mark.parametrize("page", PAGES)
def test_what_scrolls_has_a_shadow_and_says_so(open_page, page, size):
    driver = open_page(page, size)
    others, without, boxes = driver.execute_script(SCROLLS)
    assert (others, without) == ([], 0)
    assert boxes
    assert all(scrolls is said for scrolls, said in boxes)
    if (page, size) == ("crowded", "phone"):
        assert any(scrolls for scrolls, _ in boxes)
    assert driver.execute_script(OVERFLOWING) == [False, []]


COPY = """
const [clipboard, done] = arguments, copied = [];
Object.defineProperty(navigator, 'clipboard', {configurable: true, value: clipboard
    ? {writeText: async text => { copied.push(text); }} : undefined});
document.addEventListener('copy', () => copied.push(String(getSelection())));
const buttons = [...document.querySelectorAll('.copied button')];
(async () => {
    for (const button of buttons) { button.click(); await new Promise(go => setTimeout(go)); }
    const pres = [...document.querySelectorAll('.copied pre')].map(pre => pre.textContent.trim());
    done([copied.map(text => text.trim()), pres, buttons.map(one => one.innerText)]);
})();
"""


@OF_THE_PAGES
@pytest.mark.parametrize("clipboard", [True, False])
def test_the_commands_and_exports_are_copied(open_page, clipboard):
    driver = open_page("usual")
    copied, texts, said = driver.execute_async_script(COPY, clipboard)
    assert len(texts) == 1 + len(FORMS)
    assert export(BEST, "json").strip() in texts
    if clipboard:  # without one a script's click may copy nothing, but selects what is meant
        assert copied == texts
        assert set(said) == {"Copied"}
    else:
        assert driver.execute_script("return String(getSelection()).trim()") == texts[-1]


@OF_THE_PAGES
def test_light_and_dark_show_each_chart_once_in_their_colours(open_page):
    seen = {}
    for size in ("light", "dark"):
        driver = open_page("usual", size)
        seen[size] = driver.execute_script(
            "return [getComputedStyle(document.body).backgroundColor,"
            " [...document.querySelectorAll('.chart svg')].filter(s => s.getClientRects().length)"
            ".length, document.querySelectorAll('.chart').length]"
        )
    assert seen == {"light": ["rgb(255, 255, 255)", 5, 5], "dark": ["rgb(20, 23, 27)", 5, 5]}


@OF_THE_PAGES
def test_hostile_names_are_shown_as_text(open_page):
    driver = open_page("hostile")
    assert driver.title != "owned"
    (script,) = driver.execute_script(
        "return [...document.querySelectorAll('script, img')].map(e => e.textContent)"
    )
    assert f"<script>{script}</script>" in TEMPLATE  # the page's own, as it was written
    text = driver.execute_script("return document.body.textContent")
    for name in (HOSTILE, r"$\frac{1}{0}$", "&amp;<img src=x onerror=alert(1)>"):
        assert name in text
    labels = driver.execute_script(
        "return [...document.querySelectorAll('.chart text')].map(t => t.textContent)"
    )
    assert any("<script>document" in label for label in labels)
    assert r"$\frac{1}{0}$" in labels


@OF_THE_PAGES
def test_a_printed_page_is_light_and_shows_every_chart(open_page):
    driver = open_page("usual", "dark")
    features = {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
    shown = driver.execute_script(
        "return [getComputedStyle(document.body).backgroundColor,"
        " [...document.querySelectorAll('.dark, .copied button, .hint')]"
        ".filter(s => s.getClientRects().length).length]"
    )
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert shown == ["rgb(255, 255, 255)", 0]
