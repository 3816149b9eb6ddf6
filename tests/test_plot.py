"""The pictures: what they show, and that it can be read."""

import itertools
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from findings import (
    BEST,
    DEFAULT,
    GAINS,
    MANY,
    STEPS,
    instances,
    of_instances,
    printed,
    results,
    together,
    trial,
    verdict,
)

from kamerton_ray import Decision, InvalidInputError, Objective, plot
from kamerton_ray.report.labels import brief_names, brief_values, short
from kamerton_ray.report.measured import Basis, Measured, times
from kamerton_ray.report.palette import contrast, mixed, readable_on
from kamerton_ray.report.paper import WIDTH
from kamerton_ray.report.plot_speedups import MOST_ROWS, row_color
from kamerton_ray.report.plot_trade_off import NO_TRADE_OFF
from kamerton_ray.report.told import Told, best_row
from kamerton_ray.trial.result import Result
from kamerton_ray.tune.results import trial_results


def texts(figure):
    """Every text of a figure that is shown."""
    from matplotlib.text import Text

    figure.draw_without_rendering()
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def named(figure, gid):
    """What is drawn under this name."""
    return figure.findobj(lambda artist: artist.get_gid() == gid)


def cells(figure):
    """Where the cells of a map are."""
    return {(round(c.get_x() + 0.46), round(c.get_y() + 0.45)) for c in named(figure, "cell")}


def figures(**options):
    return {
        "surface": plot.surface(results(), verdict=verdict(), **options),
        "speedups": plot.speedups(results(), verdict=verdict(), **options),
        "trials": plot.progress(results(), **options),
        "time": plot.progress(results(), against="time", **options),
        "rounds": plot.rounds(verdict(), **options),
        "trade_off": plot.trade_off(instances(), verdict=together(), **options),
    }


# --- the map -------------------------------------------------------------------------------------


def test_the_map_has_a_cell_with_its_gain_for_each_configuration():
    figure = plot.surface(results())
    assert len(named(figure, "cell")) == len(GAINS) + 1
    assert {(intra - 1, inter - 1) for intra, inter in GAINS} < cells(figure)
    shown = texts(figure)
    for gain in GAINS.values():
        assert f"{1.29 if gain == 1.3 else gain:.2f}" in shown
    assert "failed" in shown
    assert "4, 9" in shown


def test_the_map_marks_the_default_and_the_best():
    found = Measured(trial_results(results()))
    told = Told(found, None)
    shown = {tuple(row.config.values()): told.marks(row) for row in found.rows}
    assert {key: marks for key, marks in shown.items() if marks} == {
        (1, 1): ["best"],
        (2, 2): ["default"],
    }
    assert {"best", "default"} < set(texts(plot.surface(found)))
    assert [c.get_linewidth() for c in named(plot.surface(found), "cell")].count(2) == 1


def test_the_verdicts_best_is_marked_rather_than_the_searchs():
    other = {"intra_op": 1, "inter_op": 2}
    found = Measured(trial_results(results()))
    assert best_row(found, verdict()).config == BEST
    assert best_row(found, verdict(other)).config == other


@pytest.mark.parametrize("told", [verdict(), None])
def test_no_line_crosses_the_map_and_no_mark_lies_on_a_text(told):
    figure = plot.surface(results(), verdict=told)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert {line.get_linestyle() for line in axes.lines} <= {"None"}
    boxes = [text.get_window_extent() for text in axes.texts]
    marks = [axes.transData.transform(at) for line in axes.lines for at in line.get_xydata()]
    assert len(boxes) > len(GAINS)
    assert not any(box.contains(*at) for box in boxes for at in marks)


def test_the_trials_numbers_stand_in_the_corners_of_their_cells():
    shown = texts(plot.surface(results()))
    assert {*map(str, range(1, 9)), "4, 9"} - {"4"} <= set(shown)


def test_a_cell_has_the_gain_of_its_fresh_runs_and_the_searchs_are_small_and_slanted():
    figure = plot.surface(results(), verdict=verdict())
    fresh, searched = (
        {text.get_text(): text for text in named(figure, gid)} for gid in ("gain", "searched")
    )
    assert set(fresh) - {"failed"} == {"1.30", "1.00"}
    assert set(searched) - {"failed"} == {"1.20", "1.12", "0.80", "0.70", "0.66"}
    assert {one.get_style() for one in searched.values()} == {"italic"}
    assert max(one.get_size() for one in searched.values()) < fresh["1.30"].get_size()
    shown = texts(figure)
    assert shown.count("slower") == 3
    assert any("slanted: the search's" in text for text in shown)
    (before,) = (one for one in named(plot.surface(results()), "gain") if one.get_text() == "1.12")
    assert before.get_style() == "normal"


@pytest.mark.parametrize(("gain", "weight"), [(1.3, "bold"), (0.91, "normal")])
def test_what_is_slower_was_chosen_for_the_final_and_is_not_the_best(gain, weight):
    told = verdict(
        decision=Decision.USE if gain > 1 else Decision.KEEP,
        speedup=gain,
        low=gain - 0.05,
        high=gain + 0.05,
        table=tuple(
            replace(row, gain=gain if row.config else 1.0, value=gain) for row in verdict().table
        ),
    )
    for figure in (plot.surface(results(), verdict=told), plot.speedups(results(), verdict=told)):
        said = [one for one in named(figure, "gain") if one.get_text().startswith(f"{gain:.2f}")]
        assert [one.get_weight() for one in said] == [weight]
    shown = set(texts(plot.speedups(results(), verdict=told)))
    if gain < 1:
        assert {"0.91x, slower", "chosen for the final  1 · 1"} <= shown
        assert {"chosen", "default"} < set(texts(plot.rounds(told)))
        assert not any("best" in text for text in shown)
    else:
        assert {"1.30x", "best  1 · 1"} <= shown


def with_words():
    """A search for counts and the words of two knobs."""
    words = {
        ("stock", "stock"): 1.0,
        ("one-arena", "stock"): 0.8,
        ("keep", "stock"): 1.3,
        ("keep", "system-malloc"): 1.2,
    }
    return [
        trial(gain, place=place, **DEFAULT, allocator=allocator, onednn=onednn)
        for place, ((allocator, onednn), gain) in enumerate(words.items(), 1)
    ]


def test_words_are_whole_on_a_map_and_those_that_set_nothing_are_the_default():
    figure = plot.surface(with_words())
    (axes,) = figure.axes
    across, up = (
        [text.get_text() for text in some]
        for some in (axes.get_xticklabels(), axes.get_yticklabels())
    )
    assert across == ["stock", "keep", "one-arena"]
    assert up == ["stock", "system-malloc"]
    assert Measured(trial_results(with_words())).default == {
        "allocator": "stock",
        "onednn": "stock",
    }
    assert "default" in texts(figure)


def test_columns_are_as_wide_as_their_words():
    words = [f"a-long-word-{number}" for number in range(8)]
    found = [trial(1.1, place=place, **DEFAULT, MODE=word) for place, word in enumerate(words, 1)]
    figure = plot.surface(found)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].get_xticklabels()]
    assert len(boxes) == len(words)
    assert not any(one.overlaps(other) for one, other in itertools.pairwise(boxes))


def test_a_cell_has_room_for_its_words_and_for_what_it_is():
    found = [
        trial(gain, place=place, intra_op=place, inter_op=place, allocator=word)
        for place, (word, gain) in enumerate({"one-arena": 0.9, "keep": 0.8}.items(), 1)
    ]
    figure = plot.surface(found)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert "one-arena\nbest\nslower" in texts(figure)
    boxes = [text.get_window_extent() for text in axes.texts if text.get_text()]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def test_what_was_tuned_beside_words_is_named_whole_and_within_the_list():
    others = [
        trial(1.4, place=place, **counts, allocator="one-arena", onednn="system-malloc")
        for place, counts in enumerate([BEST, DEFAULT, {"intra_op": 2, "inter_op": 1}], 5)
    ]
    found = [
        {**one, "config": {"instances": place % 2 + 1, "pinned": place % 2, **one["config"]}}
        for place, one in enumerate([*with_words(), *others])
    ]
    figure = plot.speedups(found)
    assert any("allocator" in text and "onednn)" in text for text in texts(figure))
    inside = figure.bbox.padded(1)
    label = figure.axes[0].xaxis.label.get_window_extent()
    assert inside.x0 <= label.x0 < label.x1 <= inside.x1


def test_the_default_is_marked_where_it_was_not_measured():
    shown = texts(plot.surface([one for one in results() if one["config"] != DEFAULT]))
    assert shown.count("default") == 1


def test_of_three_parameters_a_cell_shows_the_best_over_the_third_and_says_so():
    found = [
        trial(gain, place=place, intra_op=intra, inter_op=1, OMP_NUM_THREADS=omp)
        for place, (intra, omp, gain) in enumerate([(1, 1, 1.1), (1, 7, 1.2), (2, 1, 0.9)], 1)
    ]
    found.append(trial(0.8, place=4, intra_op=2, inter_op=2, OMP_NUM_THREADS=1))
    figure = plot.surface(found)
    shown = texts(figure)
    assert len(named(figure, "cell")) == 3
    assert "1.20" in shown
    assert "1.10" not in shown
    assert "7\nbest" in shown
    assert any("best over what is written below,\nOMP_NUM_THREADS" in text for text in shown)


def test_one_instance_with_the_defaults_counts_is_the_default():
    found = Measured(
        [
            Result.of(printed(value, instances=count, **config))
            for value, count, config in [(4.0, 1, DEFAULT), (2.0, 2, DEFAULT), (1.0, 2, BEST)]
        ]
    )
    best, told = best_row(found, None), Told(found, None)
    assert found.words(best.config) == "2 instances of intra_op=1 inter_op=1"
    assert best.gain == 4.0
    assert [row.gain for row in found.rows if "default" in told.marks(row)] == [1.0]
    assert "2 x (1, 1)" in " ".join(texts(plot.speedups(found)))


@pytest.mark.parametrize("names", [["batch"], ["a", "b"]])
def test_other_parameters_make_a_strip_or_a_map_with_their_names(names):
    found = [
        trial(1 + value / 10, place=value, **dict.fromkeys(names, value)) for value in (1, 2, 4)
    ]
    figure = plot.surface(found)
    (axes,) = figure.axes
    assert [axes.get_xlabel(), axes.get_ylabel()] == [*names, ""][:2]
    assert len(named(figure, "cell")) == 3


def test_a_large_space_gives_a_large_map_without_gaps():
    found = [trial(1.0, place=n, intra_op=n * n, inter_op=1 + n % 5) for n in range(1, 31)]
    figure = plot.surface(found)
    assert figure.get_figwidth() > 3 * WIDTH
    assert len(figure.axes[0].get_xticks()) == 31  # and the default's


def test_instances_and_their_threads_make_the_map_and_inter_op_stands_in_its_cells():
    (axes,) = plot.surface(instances(), verdict=together()).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("instances", "intra_op (threads)")
    assert axes.get_title("left").splitlines() == [
        "times the steps of TensorFlow's default",
        "each cell: the best over inter_op",
        "upright: fresh runs; small and slanted: the search's",
        "crossed out: over 2 threads a CPU, not worth a trial",
    ]
    assert {"2.02", "inter_op=1\nbest", "inter_op=2\ndefault"} <= set(texts(axes.figure))
    assert "2.00" not in texts(axes.figure)


def test_cells_with_too_many_threads_are_crossed_out_unless_such_were_tried():
    def crossed(found):
        (marks,) = named(plot.surface(found), "crowded")
        return list(zip(*marks.get_data(), strict=True))

    assert crossed(instances()) == [(1, 2), (1, 3)]  # two of three threads or four, on two CPUs
    over = of_instances(1.5, place=7, instances=2, intra_op=4, inter_op=1)
    assert crossed([*instances(), over]) == []
    assert crossed([{**one, "machine": {}} for one in instances()]) == []


def test_of_instances_the_default_is_one_process_with_a_thread_for_each_cpu():
    found = Measured(trial_results(instances()))
    assert found.axes == ["instances", "intra_op", "inter_op"]
    assert found.default == {"instances": 1, "intra_op": 2, "inter_op": 2}
    both = [{**one, "config": {**one["config"], "instances": 2}} for one in instances()]
    assert Measured(trial_results(both)).default == found.default  # that is still one process


# --- the others ----------------------------------------------------------------------------------


def test_the_speed_ups_are_sorted_and_have_their_intervals():
    figure = plot.speedups(results(), verdict=verdict())
    gains = [float(dot.get_xdata()[0]) for dot in named(figure, "row")]
    assert gains[:2] == [1.3, 1.0]  # the fresh runs', and then the search's
    assert gains[2:] == sorted(gains[2:], reverse=True)
    assert len(gains) == len(GAINS)
    shown = texts(figure)
    assert {"best  1 · 1", "default  2 · 2", "intra_op · inter_op", "1.30x"} < set(shown)
    assert "1.29x" not in shown
    alone = plot.speedups(results())
    gains = [float(dot.get_xdata()[0]) for dot in named(alone, "row")]
    assert gains == sorted(gains, reverse=True)
    assert {"best  1 · 1", "1.29x"} < set(texts(alone))
    assert "by the search alone:" in shown
    assert "by the search alone:" not in texts(alone)
    rows = {tuple(row.config.values()): row for row in Measured(trial_results(results())).rows}
    once, twice = rows[1, 2], rows[1, 1]
    assert (once.low, once.high) == pytest.approx((1.12 / 1.1, 1.12 * 1.1))
    assert twice.high / twice.low == pytest.approx((once.high / once.low) ** (1 / math.sqrt(2)))


def test_what_is_not_told_apart_from_the_default_is_grey():
    found = Measured(trial_results(results()))
    colors = {
        tuple(row.config.values()): row_color(row, found, plot.LIGHT) for row in found.working
    }
    assert colors[1, 1] == plot.LIGHT.better
    assert colors[2, 2] == plot.LIGHT.neither
    assert colors[4, 4] == plot.LIGHT.worse


def test_of_many_configurations_the_best_and_the_default_are_listed():
    found = [trial(1 + n / 100, place=n, intra_op=n, inter_op=1) for n in range(1, 60)]
    found.append(trial(0.5, place=60, **DEFAULT))
    figure = plot.speedups(found)
    assert len(named(figure, "row")) == MOST_ROWS + 1
    assert "default  2 · 2" in texts(figure)
    assert "34 more" in figure.axes[0].get_xlabel()


def test_the_best_so_far_only_improves():
    figure = plot.progress(results())
    steps = next(line for line in figure.axes[0].lines if line.get_drawstyle() == "steps-post")
    assert list(steps.get_ydata()) == sorted(steps.get_ydata())
    assert len(named(figure, "trial")[0].get_xdata()) == len(results()) - 1
    assert {"1.30x", "default"} < set(texts(figure))


def test_time_is_counted_from_the_first_trials_begin():
    assert times(trial_results(results()))[:2] == [5.0, 10.0]
    untold = [{key: v for key, v in one.items() if key != "timestamp"} for one in results()]
    assert times(trial_results(untold))[:2] == [5.0, 10.0]
    assert times(trial_results([{"config": {}}])) is None
    figure = plot.progress(results(), against="time")
    assert figure.axes[0].get_xlabel() == "time since the search began (s)"
    with pytest.raises(InvalidInputError, match="their times"):
        plot.progress([printed(1.0, intra_op=1)], against="time")
    with pytest.raises(InvalidInputError, match="'trials' or 'time'"):
        plot.progress(results(), against="money")


def test_each_fresh_process_is_a_dot_and_the_final_is_told_from_the_race():
    found = verdict()
    figure = plot.rounds(found)
    dots = named(figure, "fresh")
    assert len(dots) == 2 * len(found.rounds)
    assert [dot.get_alpha() for dot in dots].count(1.0) == 2 * 9
    assert figure.axes[0].get_ylabel() == "time taken (ms)"
    assert {"default", "best", "race"} < set(texts(figure))
    with pytest.raises(InvalidInputError, match="rounds"):
        plot.rounds(verdict(rounds=[]))


def test_the_fresh_runs_of_instances_are_shown_by_the_steps_of_all():
    (axes,) = plot.rounds(together()).axes
    assert axes.get_ylabel() == "throughput (steps/s)"


# --- throughput against latency ------------------------------------------------------------------


def places(figure, gid):
    """Where the dots of a kind are."""
    return [(float(dot.get_xdata()[0]), float(dot.get_ydata()[0])) for dot in named(figure, gid)]


def near(found, places):
    """Whether these are the places, but for rounding."""
    return np.shape(found) == np.shape(places) and np.allclose(found, places)


def test_the_finalists_are_large_and_the_searchs_points_small():
    figure = plot.trade_off(instances(), verdict=together())
    assert near(places(figure, "point"), [(26, 101), (23, 51.5), (23, 50)])
    assert len(places(figure, "small")) == len(STEPS)
    sizes = [dot.get_markersize() for dot in named(figure, "point")]
    assert sizes == [9, 6, 6]
    shown = [text.get_text() for text in named(figure, "name")]
    assert shown == ["best  2 x (1, 1)", "default", "1 x (1, 1)"]
    assert "instances x (intra_op, inter_op)" in figure.get_supxlabel()


def test_a_staircase_joins_those_that_no_other_beats():
    figure = plot.trade_off(instances(), verdict=together())
    ((line,), (axes,)) = named(figure, "frontier"), figure.axes
    corners = list(zip(*line.get_data(), strict=True))
    ends = (23, axes.get_ylim()[0]), (axes.get_xlim()[1], 101)
    assert near(corners, [ends[0], (23, 51.5), (26, 101), ends[1]])


def within_noise(**more):
    """The two instances take as long at p99 as the one: within the intervals, at least."""
    table = [
        replace(row, seconds_p99=0.0231 if row.config == MANY else row.seconds_p99)
        for row in together().table
    ]
    rounds = [
        [
            replace(one, seconds_p99=(0.0231 if one.config == MANY else 0.023) + 0.0005 * (n % 3))
            for n, one in enumerate(results, number)
        ]
        for number, results in enumerate(together().rounds)
    ]
    return together(**{"table": tuple(table), "rounds": rounds, **more})


@pytest.mark.parametrize("told", [within_noise(), within_noise(rounds=[])])
def test_a_pair_whose_intervals_overlap_is_no_trade_off(told):
    figure = plot.trade_off(instances(), verdict=told)
    (p99, other) = (one[0] for one in places(figure, "point")[:2])
    assert p99 > other  # so by their values alone the two would be one
    assert not named(figure, "frontier")
    assert NO_TRADE_OFF in figure.get_supxlabel()
    assert NO_TRADE_OFF not in plot.trade_off(instances(), verdict=together()).get_supxlabel()


def test_the_points_of_fresh_runs_have_their_intervals():
    figure = plot.trade_off(instances(), verdict=together())
    across, up, *_ = (line.get_xydata() for line in named(figure, "interval"))
    (low, _), (high, _) = across
    assert low <= 26 <= high
    assert 0 < high - low < 1
    assert across[0][1] == across[1][1] == 101
    assert up[0][1] <= 101 < up[1][1]


@pytest.mark.parametrize("told", [None, together(table=together().table[:1])])
def test_without_fresh_runs_of_two_the_searchs_points_are_the_picture(told):
    figure = plot.trade_off(instances(), verdict=told)
    assert len(places(figure, "point")) == len(STEPS)
    assert not named(figure, "small")
    assert not named(figure, "frontier")
    assert {"best  2 x (1, 1)", "default  1 x (2, 2)"} <= set(texts(figure))


def test_limits_are_lines_where_they_are_near():
    limits = {"at_most": {"seconds_p99": 0.025}, "at_least": {"throughput": 60}}
    figure = plot.trade_off(instances(), verdict=together(), objective=Objective(**limits))
    across, up = named(figure, "limit")
    assert (across.get_xdata()[0], up.get_ydata()[0]) == pytest.approx((25, 60))
    assert {"≤ 25 ms", "≥ 60"} <= set(texts(figure))
    far = Objective(at_most={"seconds_p99": 1.0})
    assert not named(plot.trade_off(instances(), verdict=together(), objective=far), "limit")


def test_what_is_far_out_is_counted_instead_of_shown():
    slow = of_instances(0.1, place=7, instances=2, intra_op=3, inter_op=1)
    figure = plot.trade_off([*instances(), slow], verdict=together())
    before = plot.trade_off(instances(), verdict=together())
    assert figure.axes[0].get_xlim() == before.axes[0].get_xlim()
    assert "1 point is farther out" in figure.get_supxlabel()


@pytest.mark.parametrize("apart", [0.0, 0.01, 1.0])
@pytest.mark.parametrize("names", [[], ["a", "b"]])
def test_names_cover_neither_each_other_nor_a_dot_and_are_not_cut(apart, names):
    found = [
        {
            **trial(1.0, place=n, instances=n, **dict.fromkeys(names, f"{n} long value")),
            "throughput": 50 + apart * n,
        }
        for n in range(1, 13)
    ]
    figure = plot.trade_off(found)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in named(figure, "name")]
    assert 2 <= len(boxes) <= 6
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    dots = figure.axes[0].transData.transform(places(figure, "point"))
    assert not any(box.contains(*dot) for box in boxes for dot in dots)
    frame = figure.axes[0].bbox
    assert all(frame.contains(*corner) for box in boxes for corner in (box.min, box.max))


def test_fewer_than_two_points_are_refused():
    for found in ([printed(1.0, intra_op=1)], instances()[:1]):
        with pytest.raises(InvalidInputError, match=r"configurations, but have them of [01]$"):
            plot.trade_off(found)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"intra_op": 1, "inter_op": 2}, "1 · 2"),
        (MANY, "2 x (1, 1)"),
        ({"instances": 3}, "3"),
        ({"instances": 3, "NAME": "x" * 20}, f"3 x ({'x' * 12}…)"),
    ],
)
def test_a_configuration_by_its_values(config, said):
    assert brief_values(config) == said
    assert brief_names(MANY) == "instances x (intra_op, inter_op)"


# --- what a gain is measured against -------------------------------------------------------------


def test_where_trials_say_no_speed_up_it_is_the_ratio_to_the_defaults_own_trial():
    found = Measured(trial_results([printed(10.0, **DEFAULT), printed(8.0, **BEST)]))
    assert found.baseline.basis is Basis.TRIAL
    assert found.best.gain == pytest.approx(1.25)
    assert str(found.baseline) == "the trial of intra_op=2 inter_op=2, TensorFlow's default"


def test_where_the_default_was_no_trial_its_fresh_runs_or_the_start_stand_in():
    trials = [printed(10.0, intra_op=3, inter_op=2), printed(8.0, **BEST), printed(5.0, **BEST)]
    start = trials[0]["config"]
    assert Measured(trial_results(trials), start=start).baseline.config == start
    fresh = [Result(objective=12.0)]
    assert Measured(trial_results(trials), start=start, fresh=fresh).baseline.value == 12.0
    middle = Measured(trial_results(trials)).baseline
    assert (middle.value, middle.basis, middle.name) == (8.0, Basis.MEDIAN, "median")


def test_one_fixed_count_that_is_not_the_defaults_means_that_the_default_was_not_tried():
    found = Measured(trial_results([printed(9.0, intra_op=n, inter_op=1) for n in (1, 2, 3)]))
    assert found.axes == ["intra_op"]
    assert found.default is None


@pytest.mark.parametrize("kind", [int, np.float32])
def test_where_there_are_no_ratios_the_values_are_shown(kind):
    trials = [printed(kind(value), intra_op=value + 3, inter_op=1) for value in (4, 0, -2)]
    found = Measured(trial_results(trials))
    assert not found.ratios
    assert [row.value for row in found.rows] == [-2, 0, 4]
    assert [row.gain for row in found.rows] == [2, 0, -4]  # over the median
    figure = plot.surface(found)
    assert {"-2", "0", "4"} < set(texts(figure))
    assert texts(plot.speedups(found))
    assert "lower is better" in plot.progress(found).axes[0].get_ylabel()


def test_without_ratios_an_interval_lies_around_its_value_and_tells_it_apart():
    trials = [
        {**printed(v, intra_op=n, inter_op=1), "objective_low": v - 1, "objective_high": v + 1}
        for n, v in enumerate((-5.0, 0.5, 0.0, 4.0), 1)
    ]
    found = Measured(trial_results(trials), start=trials[2]["config"])
    best, *_, worst = found.rows
    assert (best.gain, best.low, best.high) == pytest.approx((5, 4, 6))
    assert row_color(best, found, plot.LIGHT) == plot.LIGHT.better
    assert row_color(found.rows[1], found, plot.LIGHT) == plot.LIGHT.neither
    assert row_color(worst, found, plot.LIGHT) == plot.LIGHT.worse
    (axes,) = plot.speedups(found).axes
    ends = [sorted(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) > 1]
    assert ends[0] == pytest.approx([-6, -4])


def test_numpys_integers_make_a_map_without_gaps():
    found = [trial(1.0, place=n, intra_op=np.int64(n), inter_op=np.int64(1)) for n in (2, 10, 1)]
    (axes,) = plot.surface(found).axes
    assert [text.get_text() for text in axes.get_xticklabels()] == [str(n) for n in range(1, 11)]


def test_what_breaks_a_limit_is_not_the_best_and_says_so():
    limited = Objective(at_most={"seconds_p99": 0.0195})
    found = Measured(trial_results(results()), limited)
    assert {tuple(row.config.values()) for row in found.working if row.miss == 0} == {(1, 1)}
    limited = Objective(at_most={"cpu_seconds": 0.0151})
    found = Measured(trial_results([one for one in results() if one["config"] != BEST]), limited)
    assert found.best.miss > 0
    assert any("breaks a limit" in text for text in texts(plot.speedups(found)))


def test_a_key_that_counts_is_guessed_or_asked_for():
    assert Measured(trial_results(results())).objective.metric == "speedup"
    assert Measured(trial_results([printed(1.0, intra_op=1)])).objective.metric == "objective"
    with pytest.raises(InvalidInputError, match=r"which key counts, of \['loss'\]"):
        Measured(trial_results([{"loss": 1.0, "config": {"x": 1}}]))


# --- that it can be read -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["surface", "speedups", "trials", "time", "rounds", "trade_off"])
def test_axes_are_labelled(name):
    (axes,) = figures()[name].axes
    assert axes.get_xlabel()
    assert axes.get_ylabel() or name == "speedups"


@pytest.mark.parametrize("palette", [plot.LIGHT, plot.DARK])
def test_texts_stand_out_from_what_they_stand_on(palette):
    for color in (palette.ink, palette.soft, palette.better, palette.worse):
        assert contrast(color, palette.paper) >= 4.5
    for end, share in itertools.product((palette.better, palette.worse), range(11)):
        fill = mixed(palette.middle, end, share / 10)
        assert contrast(readable_on(fill), fill) >= 4.5


# Machado, Oliveira and Fernandes 2009, "A physiologically-based model for simulation of color
# vision deficiency", table 1 at severity 1.
BLINDNESS = {
    "protanopia": [(0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)],
    "deuteranopia": [(0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)],
    "tritanopia": [(1.256, -0.077, -0.179), (-0.078, 0.931, 0.148), (0.005, 0.691, 0.304)],
}


@pytest.mark.parametrize("palette", [plot.LIGHT, plot.DARK])
@pytest.mark.parametrize("kind", BLINDNESS)
def test_better_and_worse_are_told_apart_by_the_colour_blind(kind, palette):
    def seen(color):
        parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        return [sum(m * p for m, p in zip(row, parts, strict=True)) for row in BLINDNESS[kind]]

    for one, other in itertools.combinations((palette.better, palette.worse, palette.middle), 2):
        assert math.dist(seen(one), seen(other)) > 0.3


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", r"$\frac$", "x" * 200, "a\nb\x00"])
def test_names_are_shown_as_they_are(name, tmp_path):
    found = [trial(1.0 + n / 10, place=n, **{name: n, "$y^2$": n % 2}) for n in range(1, 5)]
    for figure in (plot.surface(found), plot.speedups(found)):
        figure.savefig(tmp_path / "figure.png")
        assert any(short(name) in text for text in texts(figure))
    assert plot.surface(found).axes[0].get_ylabel() == "$y^2$"


def test_the_users_own_style_does_not_reach_them():
    import matplotlib as mpl

    with mpl.rc_context({"text.usetex": True, "axes.facecolor": "red", "font.size": 30}):
        figure = plot.surface(results())
        shown = texts(figure)
    assert figure.get_facecolor() == (1, 1, 1, 1)
    assert "best" in shown


def test_a_notebook_shows_them():
    assert plot.surface(results())._repr_png_().startswith(b"\x89PNG")


def test_without_matplotlib_it_says_what_to_install():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from kamerton_ray import plot\n"
        "plot.surface([{'speedup': 1.0, 'config': {'intra_op': 1}}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'kamerton_ray[report]'" in done.stderr.splitlines()[-1]
