# ruff: noqa: S311 - random values here are not for secrets
import itertools
import json
import math
import os
import random

from hypothesis import given, settings
from hypothesis import strategies as st
from ray import tune

from kamerton_ray import AtMost, IntegerSpace, InvalidInputError, NelderMead, Signal, StopRule
from kamerton_ray.numeric import mean

# Hypothesis draws the shape of a case and a seed; `random.Random(seed)` fills in the rest, which is
# several times faster than drawing everything and shrinks just as well.
SEEDS = st.integers(0, 2**32 - 1)
EXAMPLES = int(
    os.environ.get("EXAMPLES", "1000")
)  # of whole searches; `make test-thorough`: 10,000
MOST_POINTS = [12, 40, 150, 1200]  # of a lattice, so that an example takes milliseconds
MOST_WORDS = 5


def random_domain(rng, most):
    """A domain of at most `most` values."""
    count = min(rng.choice([1, 2, rng.randint(1, most), most]), most)
    if rng.random() < 0.2:
        words = [f"w{number}" for number in range(min(count, MOST_WORDS))]
        return rng.choice([tune.choice(rng.sample(words, len(words))), set(words)])
    low = rng.choice([1, 1, 2, rng.randint(-20, 20)])
    step = rng.randint(2, 5)
    first = -(-low // step) * step
    # Quantized first to last, where the bounds need not be multiples.
    upper = first + (count - 1) * step + rng.randrange(step)
    kinds = [
        range(low, low + count),
        range(low, low + count * step, step),
        tune.randint(low, low + count),
        tune.qrandint(low, upper, step),
        tune.choice(sorted(rng.sample(range(-50, 200), count), reverse=rng.random() < 0.5)),
    ]
    if low >= 1:
        kinds += [tune.lograndint(low, low + count), tune.qlograndint(low, upper, step)]
    return rng.choice(kinds)


def in_a_list(rng, domain):
    """A list or a tuple with the domain somewhere in it."""
    inside = rng.choice([domain, {"deep": domain, "c": [3]}, [domain], (domain, "text")])
    items = rng.sample(["here", 1, (2, None)], 3)
    return rng.choice([list, tuple])(inside if item == "here" else item for item in items)


def random_space(rng, axes):
    domains, left = {}, rng.choice(MOST_POINTS)
    for i in range(axes):
        domain = random_domain(rng, max(1, min(100, left)))
        left //= len(IntegerSpace({"x": domain}).axes[0])
        place = domains.setdefault(rng.choice("gh"), {}) if rng.random() < 0.3 else domains
        place[f"x{i}"] = in_a_list(rng, domain) if rng.random() < 0.2 else domain
        if rng.random() < 0.2:
            place[f"c{i}"] = rng.choice([None, 1, "text", [1, 2]])
    plain = IntegerSpace(domains)
    scale = {
        axis.name: rng.choice(["linear", "log"])
        for axis in plain.axes
        if axis.values[0] >= 1 and rng.random() < 0.5
    }
    return IntegerSpace(domains, scale=scale)


def random_point(rng, space):
    return tuple(rng.randrange(len(axis)) for axis in space.axes)


def random_objective(rng, space):
    """A quadratic, a table of noise, a constant or plateaus; a share of the points fails."""
    centre = random_point(rng, space)
    failing = rng.choice([0, 0, 0.1, 0.5, 1])
    salt = rng.random()
    kind = rng.choice(["quadratic", "noise", "constant", "plateau"])

    def objective(point):
        drawn = random.Random(f"{salt}{point}")
        if drawn.random() < failing:
            return drawn.choice([None, math.nan, math.inf, -math.inf])
        distance = sum((x - c) ** 2 for x, c in zip(point, centre, strict=True))
        return {
            "quadratic": float(distance),
            "noise": drawn.random(),
            "constant": 1.0,
            "plateau": float(distance // 8),
        }[kind]

    return objective


def random_search(rng, axes):
    space = random_space(rng, axes)
    return NelderMead(
        space,
        start=[space.config(random_point(rng, space)) for _ in range(rng.choice([0, 0, 1, 3]))],
        mode=rng.choice(["min", "max"]),
        seed=rng.randrange(5),
        budget=rng.choice([None, None, rng.randint(1, 30)]),
        patience=rng.choice([None, None, rng.randint(1, 20)]),
        repeats=rng.choice([0, 1, 2]),
    )


def restored(search):
    return NelderMead.from_json(json.loads(json.dumps(search.to_json(), allow_nan=False)))


def visible(search):
    return search.best, search.measured, search.open, search.stopped_by


def ask(searches, seen):
    """Ask every search; all must say the same, on the lattice, and new unless it is a repeat."""
    answers = [search.ask() for search in searches]
    assert all(answer == answers[0] for answer in answers)
    trial = answers[0]
    if isinstance(trial, Signal):
        assert (trial is Signal.WAIT) == bool(searches[0].open)
        return None
    space = searches[0].space
    assert space.point(trial.config) == trial.point
    assert trial.repeat == (trial.point in seen)
    seen.add(trial.point)
    return trial


def forget_one(searches, seen, rng):
    """Have every search forget a point that is not open, if there is one."""
    known = sorted(seen - set(searches[0].open.values()))
    if not known:
        return
    point = rng.choice(known)
    seen.discard(point)
    for search in searches:
        search.forget(search.space.config(point))


def release(searches, seen, trial):
    """Have every search take an open point back, which may then be asked for again."""
    if not trial.repeat:
        seen.discard(trial.point)
    for search in searches:
        search.release(trial.id)


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None)
@given(axes=st.integers(1, 4), parallel=st.integers(1, 8), seed=SEEDS)
def test_any_search_stays_inside_never_repeats_survives_a_restore_and_ends(axes, parallel, seed):
    rng = random.Random(seed)
    search = random_search(rng, axes)
    objective = random_objective(rng, search.space)
    searches, seen, live = [search], set(), []
    for _ in range(2000):
        if rng.random() < 0.1:
            searches[1:] = [restored(searches[-1])]  # the first is never interrupted
        assert [visible(one) for one in searches[1:]] in ([], [visible(search)])
        trial = ask(searches, seen) if len(live) < parallel else None
        if trial is not None:
            live.append(trial)
            if rng.random() < 0.5:
                continue
        if not live:
            break
        if rng.random() < 0.02:
            forget_one(searches, seen, rng)
        trial = live.pop(rng.randrange(len(live)))
        if rng.random() < 0.05:
            release(searches, seen, trial)
        else:
            for one in searches:
                one.tell(trial.id, objective(trial.point))
    assert search.ask() is Signal.DONE
    assert isinstance(search.stopped_by, StopRule)
    assert search.measured == len(seen) <= search.space.size


def random_constraints(rng, space, kept):
    """Limits and functions that keep this point; each may be drawn several times, or not at all."""
    counts = [i for i, axis in enumerate(space.axes) if axis.values[0] >= 0 and not axis.words]
    found = []
    for _ in range(rng.choice([0, 1, 1, 2])):
        if chosen := rng.sample(counts, rng.randint(0, len(counts))):
            product = math.prod(space.axes[i].values[kept[i]] for i in chosen)
            names = [space.axes[i].name for i in chosen]
            found.append(AtMost(names, product + rng.choice([0, 1, product])))
    refused, salt = rng.choice([0, 0, 0.3, 0.9, 1]), rng.random()
    if refused or not found:
        drawn = f"{salt}{space.config(kept)}"
        found.append(
            lambda config: (
                f"{salt}{config}" == drawn or random.Random(f"{salt}{config}").random() >= refused
            )
        )
    return found


def keeps(constraints, space, point):
    config, indices = space.config(point), zip(space.axes, point, strict=True)
    values = {axis.name: axis.values[index] for axis, index in indices}
    return all(
        math.prod(values[name] for name in one.product) <= one.most
        if isinstance(one, AtMost)
        else one(config)
        for one in constraints
    )


@settings(max_examples=EXAMPLES // 5, deadline=None, derandomize=True, database=None)
@given(axes=st.integers(1, 4), parallel=st.integers(1, 6), seed=SEEDS)
def test_no_search_asks_for_what_breaks_a_constraint(axes, parallel, seed):
    rng = random.Random(seed)
    plain = random_search(rng, axes)
    space, objective = plain.space, random_objective(rng, plain.space)
    kept = random_point(rng, space)
    constraints = random_constraints(rng, space, kept)
    search = NelderMead(
        space,
        start=rng.choice([(), [space.config(kept)]]),
        budget=plain.budget,
        patience=plain.patience,
        repeats=plain.repeats,
        constraints=constraints,
    )
    seen, live = set(), []
    for _ in range(2000):
        if rng.random() < 0.1:
            state = json.loads(json.dumps(search.to_json(), allow_nan=False))
            search = NelderMead.from_json(state, constraints=constraints)
        if rng.random() < 0.05:  # of an earlier run
            point = random_point(rng, space)
            search.add(space.config(point), -1e9)
            seen |= {point} if keeps(constraints, space, point) else set()
        trial = search.ask() if len(live) < parallel else Signal.WAIT
        if not isinstance(trial, Signal):
            assert keeps(constraints, space, trial.point)
            live.append(trial)
            seen.add(trial.point)
        elif not live:
            break
        if live and rng.random() < 0.6:
            trial = live.pop(rng.randrange(len(live)))
            search.tell(trial.id, objective(trial.point))
    assert search.ask() is Signal.DONE
    assert search.measured == len(seen)
    assert search.best is None or keeps(constraints, space, search.best.point)
    if search.stopped_by is StopRule.EXHAUSTED:
        every = itertools.product(*(range(len(axis)) for axis in space.axes))
        assert seen == {point for point in every if keeps(constraints, space, point)}


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(axes=st.integers(1, 4), seed=SEEDS)
def test_what_a_start_leaves_out_is_found_and_keeps_the_constraints(axes, seed):
    rng = random.Random(seed)
    space = random_space(rng, axes)
    kept = random_point(rng, space)
    constraints = random_constraints(rng, space, kept)
    given = {
        axis.name: axis.choices[index]
        for axis, index in zip(space.axes, kept, strict=True)
        if rng.random() < 0.5
    }
    try:
        search = NelderMead(space, start=[given], constraints=constraints)
    except InvalidInputError as error:  # functions may refuse nearly everything
        assert "start point must keep all constraints" in str(error)  # noqa: PT017
        assert any(map(callable, constraints))
        return
    point = search.ask().point
    assert keeps(constraints, space, point)
    found = {axis.name: axis.choices[i] for axis, i in zip(space.axes, point, strict=True)}
    assert found | given == found


@settings(max_examples=1_000, deadline=None, derandomize=True, database=None)
@given(axes=st.integers(1, 4), seed=SEEDS)
def test_every_point_of_any_space_survives_the_round_trip_and_json(axes, seed):
    rng = random.Random(seed)
    space = random_space(rng, axes)
    again = IntegerSpace.from_json(json.loads(json.dumps(space.to_json())))
    assert again == space
    for _ in range(20):
        point = random_point(rng, space)
        config = space.config(point)
        assert space.point(config) == again.point(config) == point
        assert repr(again.config(point)) == repr(config)


@settings(max_examples=1_000, deadline=None, derandomize=True, database=None)
@given(axes=st.integers(1, 3), seed=SEEDS)
def test_the_best_is_the_best_of_everything_told_and_added(axes, seed):
    rng = random.Random(seed)
    search = random_search(rng, axes)
    objective = random_objective(rng, search.space)
    told = {}
    for _ in range(60):
        if rng.random() < 0.2:
            point = random_point(rng, search.space)
            search.add(search.space.config(point), objective(point))
        else:
            trial = search.ask()
            if isinstance(trial, Signal):
                break
            point = trial.point
            search.tell(trial.id, objective(point))
        told[point] = objective(point)
    worked = [value for value in told.values() if value is not None and math.isfinite(value)]
    best = (min if search.mode == "min" else max)(worked, default=None)
    assert (search.best and search.best.value) == best
    assert search.best is None or told[search.best.point] == best


EXTREMES = [
    *[
        sign * value
        for value in (1.7976931348623157e308, 1e308, 1.0, 1e-300, 1e-320, 5e-324)
        for sign in (1, -1)
    ],
    *[0.0, None],
]


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    values=st.lists(
        st.sampled_from(EXTREMES) | st.floats(allow_nan=False, allow_infinity=False),
        min_size=1,
        max_size=5,
    ),
    sems=st.lists(st.sampled_from([None, 0.0, 5e-324, 0.1, 1.7e308]), min_size=1, max_size=2),
    repeats=st.integers(0, 3),
    seed=SEEDS,
)
def test_no_number_stops_the_search_and_the_best_is_the_lowest_told(values, sems, repeats, seed):
    rng = random.Random(seed)
    space = IntegerSpace({"x": range(rng.choice([0, 1]), 20), "y": range(1, rng.choice([3, 40]))})
    search = NelderMead(space, repeats=repeats, patience=9)
    first, again, live = [], False, []
    while True:
        trial = search.ask()
        if isinstance(trial, Signal) and not live:
            break
        if not isinstance(trial, Signal):
            live.append(trial)
            if len(live) < 3 and rng.random() < 0.5:
                continue
        trial = live.pop(rng.randrange(len(live)))
        value = rng.choice(values)
        search.tell(trial.id, value, sem=rng.choice(sems))
        again = again or trial.repeat
        if value is not None and not trial.repeat:
            first.append(value)
    assert search.stopped_by is not None
    if first and not again:
        assert search.best.value == min(first)
    assert (search.best is None) == (not first)
    assert search.best is None or math.isfinite(search.best.value)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=9))
def test_a_mean_lies_between_the_lowest_and_the_highest(values):
    assert min(values) <= mean(values) <= max(values)
