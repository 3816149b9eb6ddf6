import itertools
import json

import numpy as np
import pytest
from ray import tune
from ray.tune.search.sample import Integer

from kamerton_ray import IntegerSpace, InvalidInputError, Scale, StateError

ASYMMETRIC = {"b": {"z": range(1, 4), "a": 7}, "a": range(2), "c": None}


def values_of(domain, **options):
    (axis,) = IntegerSpace({"x": domain}, **options).axes
    return list(axis.values)


def scale_of(domain, scale=None):
    (axis,) = IntegerSpace({"x": domain}, scale=None if scale is None else {"x": scale}).axes
    return axis.scale


def every_point(space):
    return itertools.product(*(range(len(axis)) for axis in space.axes))


DOMAINS = {
    "randint": (lambda: tune.randint(1, 9), [1, 2, 3, 4, 5, 6, 7, 8]),
    "randint below zero": (lambda: tune.randint(-3, 2), [-3, -2, -1, 0, 1]),
    "randint of one value": (lambda: tune.randint(4, 5), [4]),
    "qrandint between multiples": (lambda: tune.qrandint(1, 10, 3), [3, 6, 9]),
    "qrandint on multiples": (lambda: tune.qrandint(2, 8, 2), [2, 4, 6, 8]),
    "qrandint below zero": (lambda: tune.qrandint(-5, 5, 2), [-4, -2, 0, 2, 4]),
    "qrandint with q of one": (lambda: tune.qrandint(1, 5, 1), [1, 2, 3, 4]),
    "lograndint": (lambda: tune.lograndint(1, 6), [1, 2, 3, 4, 5]),
    "qlograndint": (lambda: tune.qlograndint(1, 20, 5), [5, 10, 15, 20]),
    "qlograndint with q of one": (lambda: tune.qlograndint(2, 6, 1), [2, 3, 4, 5]),
    "integer without a sampler": (lambda: Integer(0, 3), [0, 1, 2]),
    "choice ascending": (lambda: tune.choice([1, 2, 4, 16]), [1, 2, 4, 16]),
    "choice descending": (lambda: tune.choice([16, 4, 2, 1]), [1, 2, 4, 16]),
    "choice of one": (lambda: tune.choice([3]), [3]),
    "choice of NumPy integers": (lambda: tune.choice(list(np.array([2, 5, 9]))), [2, 5, 9]),
}


@pytest.mark.parametrize(("domain", "expected"), DOMAINS.values(), ids=DOMAINS)
def test_a_domain_has_the_values_that_ray_samples(domain, expected):
    sampled = {int(value) for value in domain().sample(size=2000, random_state=0)}
    assert values_of(domain()) == expected == sorted(sampled)


def test_q_may_leave_a_single_value():
    assert values_of(tune.qrandint(5, 9, 6)) == [6]


def test_numpy_bounds_count_as_integers():
    assert values_of(tune.randint(np.int64(1), np.int32(4))) == [1, 2, 3]


@pytest.mark.parametrize(
    ("domain", "expected"),
    [(range(1, 4), [1, 2, 3]), (range(2, 9, 3), [2, 5, 8]), (range(5, 0, -2), [1, 3, 5])],
)
def test_a_python_range_is_a_domain(domain, expected):
    assert values_of(domain) == expected


@pytest.mark.parametrize("domain", [domain for domain, _ in DOMAINS.values()], ids=DOMAINS)
def test_every_point_survives_the_round_trip_as_python_ints(domain):
    space = IntegerSpace({"x": domain(), "deep": {"y": range(3)}, "constant": "c"})
    for point in every_point(space):
        config = space.config(point)
        assert space.point(config) == point
        assert type(config["x"]) is type(config["deep"]["y"]) is int


def test_size_is_the_number_of_distinct_configurations():
    space = IntegerSpace({"x": tune.qrandint(1, 10, 3), "y": range(4), "z": tune.choice([7])})
    configs = {json.dumps(space.config(point)) for point in every_point(space)}
    assert space.size == len(configs) == 12


def test_a_configuration_keeps_the_order_of_the_dict_and_its_constants():
    config = IntegerSpace(ASYMMETRIC).config((2, 1))
    assert json.dumps(config) == '{"b": {"z": 3, "a": 7}, "a": 1, "c": null}'


@pytest.mark.parametrize("constant", [None, True, 3, 2.5, "text", [1, [2, "x"]], [], {}])
def test_constants_reach_the_configuration_unchanged(constant):
    space = IntegerSpace({"x": range(3), "constant": constant})
    assert space.config((0,))["constant"] == constant
    assert len(space.axes) == 1


def test_changing_a_configuration_does_not_change_the_space():
    space = IntegerSpace({"x": range(3), "constant": [1, 2]})
    space.config((0,))["constant"].append(3)
    assert space.config((0,))["constant"] == [1, 2]


def test_without_constants_only_the_tuned_parameters_are_left():
    space = IntegerSpace(ASYMMETRIC)
    assert space.without_constants().config((0, 0)) == {"b": {"z": 1}, "a": 0}
    assert space.config((0, 0))["c"] is None


def test_flattened_nested_and_surplus_keys_are_accepted():
    space = IntegerSpace(ASYMMETRIC)
    assert space.point({"b/z": 3, "a": 0, "loss": 1.5}) == (2, 0)
    assert space.point({"a": 1, "b": {"z": 2, "surplus": "s"}}) == (1, 1)


# --- lists --------------------------------------------------------------------------------------

LAYERS = {
    "layers": [8, tune.randint(1, 5), {"units": (range(3), "relu"), "name": None}, [], (range(2),)],
    "lr": (0.1, (0.2,)),
    "x": range(2),
}


def test_domains_in_lists_are_tuned_and_the_shape_stays():
    space = IntegerSpace(LAYERS)
    assert [axis.name for axis in space.axes] == ["layers/1", "layers/2/units/0", "layers/4/0", "x"]
    assert space.config((3, 2, 1, 0)) == {
        "layers": [8, 4, {"units": (2, "relu"), "name": None}, [], (1,)],
        "lr": (0.1, (0.2,)),
        "x": 0,
    }


@pytest.mark.parametrize(
    "domains",
    [LAYERS, {"a": [range(3)], "b": {"c": ((range(2), [range(2), 5]),)}}, {"a": [[range(3)], 1]}],
)
def test_domains_in_lists_survive_the_round_trip_and_json(domains):
    space = IntegerSpace(domains)
    again = IntegerSpace.from_json(json.loads(json.dumps(space.to_json())))
    assert again == space
    assert again.without_constants() == space.without_constants()
    for point in every_point(space):
        config = space.config(point)
        assert repr(again.config(point)) == repr(config)
        assert space.point(config) == space.without_constants().point(config) == point
        assert space.point(json.loads(json.dumps(config))) == point


def test_without_constants_a_list_with_a_domain_stays_whole():
    # Ray merges what is suggested into param_space: dicts key by key, lists as wholes.
    config = IntegerSpace(LAYERS).without_constants().config((0, 0, 0, 0))
    assert config == {"layers": [8, 1, {"units": (0, "relu"), "name": None}, [], (0,)], "x": 0}


def test_changing_a_configuration_with_a_list_does_not_change_the_space():
    space = IntegerSpace(LAYERS)
    before, config = repr(space.config((0, 0, 0, 0))), space.config((0, 0, 0, 0))
    config["layers"][2]["name"] = "changed"
    config["layers"][3].append(1)
    assert repr(space.config((0, 0, 0, 0))) == before


def test_a_configuration_with_a_list_may_be_flattened_with_or_without_it():
    space = IntegerSpace({"a": {"layers": [range(5), 7, range(5)]}, "x": range(2)})
    for config in (
        {"a": {"layers": [3, 7, 2]}, "x": 1},
        {"a": {"layers": (3, None, 2)}, "x": 1},
        {"a/layers": [3, 7, 2], "x": 1},
        {"a/layers/0": 3, "a/layers/2": 2, "x": 1},
    ):
        assert space.point(config) == (3, 2, 1)


@pytest.mark.parametrize("layers", [[3], [], 3, "32", {"0": 3}, {}, None])
def test_a_list_that_lacks_a_parameter_is_refused(layers):
    space = IntegerSpace({"layers": [range(5), range(5)]})
    with pytest.raises(InvalidInputError, match=r"'layers/[01]' is missing"):
        space.point({"layers": layers})


def test_spaces_of_a_list_and_of_a_tuple_differ():
    assert IntegerSpace({"a": [range(3)]}) == IntegerSpace({"a": [range(3)]})
    assert IntegerSpace({"a": [range(3)]}) != IntegerSpace({"a": (range(3),)})
    assert IntegerSpace({"a": [range(3), 1]}) != IntegerSpace({"a": [range(3), 2]})


def test_a_scale_may_be_given_for_a_domain_in_a_list():
    space = IntegerSpace({"layers": [range(1, 4), range(1, 4)]}, scale={"layers/1": "log"})
    assert [axis.scale for axis in space.axes] == [Scale.LINEAR, Scale.LOG]


def test_numpy_integers_are_accepted_in_a_configuration():
    assert IntegerSpace({"x": range(5)}).point({"x": np.int64(4)}) == (4,)


def test_spaces_are_equal_whatever_the_order_of_their_keys():
    one = IntegerSpace({"x": range(3), "y": range(4), "c": 1})
    assert one == IntegerSpace({"c": 1, "y": range(4), "x": range(3)})
    assert one != IntegerSpace({"x": range(3), "y": range(5), "c": 1})
    assert one != IntegerSpace({"x": range(3), "y": range(4), "c": 2})
    assert one != "a space"


def test_repr_shows_each_parameter_with_its_values():
    space = IntegerSpace({"a": {"x": range(2, 9, 2)}, "y": tune.choice([1, 5])})
    assert repr(space) == "IntegerSpace(a/x: 2..8 in steps of 2, y: one of [1, 5])"


# --- scales -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        (range(1, 9), Scale.LINEAR),
        (range(1, 10), Scale.LOG),
        (range(2, 17), Scale.LINEAR),
        (range(2, 18), Scale.LOG),
        (range(9), Scale.LINEAR),
        (range(10), Scale.LOG),
        (range(0, 81, 10), Scale.LINEAR),
        (range(0, 91, 10), Scale.LOG),
        (range(1), Scale.LINEAR),
        (range(-100, 100), Scale.LINEAR),
        (range(5, 6), Scale.LINEAR),
    ],
)
def test_a_range_over_more_than_a_factor_of_eight_is_logarithmic(domain, expected):
    assert scale_of(domain) is expected


def test_a_log_domain_is_logarithmic_however_narrow():
    assert scale_of(tune.lograndint(4, 7)) is Scale.LOG
    assert scale_of(tune.qlograndint(4, 8, 2)) is Scale.LOG
    assert scale_of(tune.randint(4, 7)) is Scale.LINEAR


def test_the_caller_settles_the_scale():
    assert scale_of(tune.lograndint(1, 100), "linear") is Scale.LINEAR
    assert scale_of(range(1, 3), Scale.LOG) is Scale.LOG
    nested = IntegerSpace({"a": {"x": range(1, 3)}}, scale={"a/x": "log"})
    assert nested.axes[0].scale is Scale.LOG


def test_on_a_logarithmic_axis_equal_ratios_are_equal_distances():
    axis = IntegerSpace({"x": range(1, 65)}).axes[0]
    assert [axis.coordinate(value - 1) for value in (1, 8, 64)] == pytest.approx([0, 0.5, 1])


@pytest.mark.parametrize(("domain", "step"), [(range(65), 1), (range(0, 641, 10), 10)])
def test_on_a_logarithmic_axis_zero_lies_as_far_below_the_next_value_as_half_of_it_would(
    domain, step
):
    axis = IntegerSpace({"x": domain}).axes[0]
    values = [step * n for n in (0, 1, 2, 4, 64)]
    found = [axis.coordinate(axis.index(value)) for value in values]
    assert found == pytest.approx([n / 7 for n in (0, 1, 2, 3, 7)])
    assert [axis.octave(axis.index(value)) for value in values] == [0, 1, 2, 3, 7]


def test_a_logarithmic_scale_of_nothing_but_zero_is_linear():
    assert scale_of(range(1), "log") is Scale.LINEAR


def test_on_a_linear_axis_equal_steps_are_equal_distances():
    axis = IntegerSpace({"x": range(101)}, scale={"x": "linear"}).axes[0]
    assert [axis.coordinate(index) for index in (0, 25, 100)] == pytest.approx([0, 0.25, 1])


@pytest.mark.parametrize(
    "domain", [range(101), range(1, 65), tune.choice([1, 2, 30, 31]), range(3, 4)]
)
def test_the_nearest_index_of_a_coordinate_is_its_own(domain):
    axis = IntegerSpace({"x": domain}).axes[0]
    for index in range(len(axis)):
        assert axis.nearest(axis.coordinate(index)) == index


def test_beyond_an_end_the_nearest_index_is_the_end():
    axis = IntegerSpace({"x": range(11)}).axes[0]
    assert (axis.nearest(-3.0), axis.nearest(1.0001), axis.nearest(9.0)) == (0, 10, 10)


def test_rounding_goes_to_the_nearest_value_and_does_not_truncate():
    axis = IntegerSpace({"x": range(11)}, scale={"x": "linear"}).axes[0]
    assert [axis.nearest(c) for c in (0.34, 0.36, 0.94, 0.96)] == [3, 4, 9, 10]


# --- refused domains ----------------------------------------------------------------------------


def log_from_zero():
    domain = Integer(0, 9)
    domain.set_sampler(Integer._LogUniform())
    return domain


# What is refused, and what the message must say of the value received.
REFUSED = {
    "uniform": (lambda: tune.uniform(0.5, 2.5), ["Float", "(0.5, 2.5)"]),
    "quniform": (lambda: tune.quniform(2, 8, 2), ["Float", "(2, 8)"]),
    "loguniform": (lambda: tune.loguniform(0.5, 2.5), ["Float"]),
    "randn": (lambda: tune.randn(3, 1), ["Float"]),
    "sample_from": (lambda: tune.sample_from(lambda _: 1), ["Function"]),
    "sample_from behind Ray's placeholder": (lambda: ("__fn_ph", "1234"), ["sample_from"]),
    "grid_search": (lambda: tune.grid_search([1, 2]), ["grid_search", "[1, 2]"]),
    "float bounds": (lambda: tune.randint(1.5, 3), ["1.5", "float"]),
    "infinite bound": (lambda: tune.randint(1, float("inf")), ["inf", "float"]),
    "boolean bound": (lambda: tune.randint(bool(0), 3), ["False", "bool"]),
    "text bound": (lambda: tune.randint("one", 3), ["'one'", "str"]),
    "empty": (lambda: tune.randint(5, 5), ["lower=5", "upper=5"]),
    "reversed": (lambda: tune.randint(9, 2), ["lower=9", "upper=2"]),
    "q reversed": (lambda: tune.qrandint(9, 2, 2), ["lower=9", "upper=2"]),
    "q between no multiples": (lambda: tune.qrandint(5, 6, 7), ["lower=5", "upper=6", "q=7"]),
    "q log between no multiples": (lambda: tune.qlograndint(1, 6, 9), ["q=9"]),
    "q of zero": (lambda: tune.qrandint(1, 6, 0), ["q must be at least 1", "got 0"]),
    "q below zero": (lambda: tune.qrandint(1, 6, -2), ["q must be at least 1", "got -2"]),
    "q a float": (lambda: tune.qrandint(1, 6, 1.5), ["1.5", "float"]),
    "log from zero": (log_from_zero, ["start at 1 or above", "lower=0"]),
    "unordered choice": (lambda: tune.choice([1, 4, 2]), ["strict order", "[1, 4, 2]"]),
    "repeating choice": (lambda: tune.choice([1, 2, 2]), ["strict order", "[1, 2, 2]"]),
    "empty choice": (lambda: tune.choice([]), ["[]"]),
    "choice of text and numbers": (lambda: tune.choice(["a", 1]), ["'a'", "str"]),
    "repeating words": (lambda: tune.choice(["a", "b", "a"]), ["distinct", "['a', 'b', 'a']"]),
    "set of text and numbers": (lambda: {"a", 1}, ["constant", "set"]),
    "empty set": (set, ["constant", "set()"]),
    "choice of floats": (lambda: tune.choice([1.0, 2.0]), ["1.0", "float"]),
    "choice of booleans": (lambda: tune.choice([False, True]), ["False", "bool"]),
    "choice of domains": (lambda: tune.choice([tune.randint(0, 3)]), ["Integer"]),
    "choice behind Ray's references": (
        lambda: tune.choice([("__ref_ph", "12"), ("__ref_ph", "34")]),
        ["reference", "tolist()"],
    ),
    "empty range": (lambda: range(3, 3), ["range(3, 3)"]),
    "range beyond floating point": (lambda: range(2**60), ["2**53", str(2**60 - 1)]),
    "range that is too long": (lambda: range(10**30), ["2**53", str(10**30 - 1)]),
    "set in a list": (lambda: [1, {1, 2}], ["constant", "{1, 2}", "set"]),
    "domain in a list in a dict with odd keys": (
        lambda: [{"a/b": tune.randint(0, 3)}],
        ["constant", "a/b"],
    ),
    "object": (object, ["constant", "object"]),
    "set": (lambda: {1, 2}, ["constant", "{1, 2}", "set"]),
    "function": (lambda: len, ["constant", "built-in function len"]),
}


@pytest.mark.parametrize(("domain", "said"), REFUSED.values(), ids=REFUSED)
def test_a_refused_domain_is_named_with_what_was_received(domain, said):
    with pytest.raises(InvalidInputError) as refusal:
        IntegerSpace({"fine": range(3), "group": {"culprit": domain()}})
    for words in ["'group/culprit", *said]:
        assert words in str(refusal.value)


@pytest.mark.parametrize(("domain", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_refused_in_a_list_too(domain, said):
    with pytest.raises(InvalidInputError) as refusal:
        IntegerSpace({"fine": range(3), "layers": [8, {"units": (domain(), range(3))}]})
    for words in ["'layers/1/units/0", *said]:
        assert words in str(refusal.value)


def test_an_invalid_input_is_a_value_error():
    with pytest.raises(ValueError, match="lower=9, upper=2"):
        IntegerSpace({"x": tune.randint(9, 2)})


@pytest.mark.parametrize("key", ["a/b", "/", 3, None, ("a",)])
def test_a_name_that_is_no_plain_string_is_refused(key):
    with pytest.raises(InvalidInputError) as refusal:
        IntegerSpace({"group": {key: range(3)}})
    assert repr(key) in str(refusal.value)
    assert "'group'" in str(refusal.value)


@pytest.mark.parametrize("domains", [None, [("x", range(3))], "x", 5])
def test_a_space_that_is_no_dict_is_refused(domains):
    with pytest.raises(InvalidInputError, match="dict of domains") as refusal:
        IntegerSpace(domains)
    assert repr(domains) in str(refusal.value)


@pytest.mark.parametrize("asked", ["cubic", "LOG", 2, True])
def test_an_unknown_scale_is_refused(asked):
    with pytest.raises(InvalidInputError, match="'linear' or 'log'") as refusal:
        IntegerSpace({"x": range(3)}, scale={"x": asked})
    assert repr(asked) in str(refusal.value)
    assert "'x'" in str(refusal.value)


def test_a_scale_for_an_unknown_parameter_is_refused():
    with pytest.raises(InvalidInputError, match=r"'z'.*\['x', 'g/y'\]"):
        IntegerSpace({"x": range(3), "g": {"y": range(3)}, "z": 1}, scale={"z": "log"})


def test_a_logarithmic_scale_below_zero_is_refused():
    with pytest.raises(InvalidInputError, match=r"'x'.*0 or above.*lowest is -2"):
        IntegerSpace({"x": range(-2, 9)}, scale={"x": "log"})


# --- refused configurations and points ----------------------------------------------------------


@pytest.mark.parametrize(
    "config", [{"x": 1}, {"x": 1, "g": {}}, {"x": 1, "g": 3}, {"x": 1, "y": 2}, {}]
)
def test_a_missing_parameter_is_named(config):
    space = IntegerSpace({"x": range(3), "g": {"y": range(3)}})
    with pytest.raises(InvalidInputError, match=r"'(g/y|x)' is missing") as refusal:
        space.point(config)
    assert repr(config) in str(refusal.value)


@pytest.mark.parametrize("value", [-1, 2, 10, 11, 10**40])
def test_a_value_off_the_lattice_is_refused(value):
    space = IntegerSpace({"g": {"x": tune.qrandint(1, 10, 3)}})
    with pytest.raises(InvalidInputError, match=f"'g/x' takes 3..9 in steps of 3.*got {value}"):
        space.point({"g": {"x": value}})


@pytest.mark.parametrize("value", [1.0, "1", None, True, [1], float("nan"), np.float64(1)])
def test_a_value_that_is_no_integer_is_refused(value):
    with pytest.raises(InvalidInputError, match="'x' takes integers") as refusal:
        IntegerSpace({"x": range(3)}).point({"x": value})
    assert repr(value) in str(refusal.value)
    assert type(value).__name__ in str(refusal.value)


@pytest.mark.parametrize("point", [(), (0,), (0, 0, 0), (3, 0), (0, -1), (0, 4)])
def test_a_point_off_the_lattice_is_refused(point):
    space = IntegerSpace({"x": range(3), "y": range(4)})
    with pytest.raises(InvalidInputError) as refusal:
        space.config(point)
    assert "(3, 4)" in str(refusal.value)
    assert str(point) in str(refusal.value)


# --- the state ----------------------------------------------------------------------------------


def test_a_space_survives_json_whole():
    space = IntegerSpace(
        {
            "b": {"z": tune.lograndint(1, 5), "constant": [1, None, "s"]},
            "a": tune.choice([1, 5, 7]),
            "q": tune.qrandint(1, 10, 3),
            "empty": {},
            "one": range(4, 5),
        },
        scale={"a": "log"},
    )
    again = IntegerSpace.from_json(json.loads(json.dumps(space.to_json())))
    assert again == space
    assert [axis.scale for axis in again.axes] == [axis.scale for axis in space.axes]
    for point in every_point(space):
        assert json.dumps(again.config(point)) == json.dumps(space.config(point))


def test_a_space_without_constants_survives_json():
    space = IntegerSpace(ASYMMETRIC).without_constants()
    again = IntegerSpace.from_json(json.loads(json.dumps(space.to_json())))
    assert again.config((0, 0)) == {"b": {"z": 1}, "a": 0}


def axis_state(**changes):
    return {"path": ["x"], "values": {"range": [0, 3, 1]}, "scale": "linear"} | changes


def space_state(**changes):
    return {"axes": [axis_state()], "constants": {"c": 1}, "order": [["x"], ["c"]]} | changes


def list_state(**changes):
    """A space with a domain in a tuple."""
    axis = axis_state(**{"path": ["x", 0]} | changes)
    return space_state(axes=[axis], constants={"x": [None, 5], "c": 1}, tuples=[["x"]])


def test_the_undamaged_states_below_are_accepted():
    assert IntegerSpace.from_json(list_state()).config((2,)) == {"x": (2, 5), "c": 1}
    assert IntegerSpace.from_json(space_state()).config((2,)) == {"x": 2, "c": 1}


DAMAGED = [
    *[None, [], "", 5, {}],
    *[{k: v for k, v in space_state().items() if k != key} for key in space_state()],
    *[space_state(axes=junk) for junk in (None, 5, "x", [5], [{}], [None])],
    *[space_state(constants=junk) for junk in (None, 5, "x", {}, {"c/d": 1}, {"other": 1})],
    *[space_state(order=junk) for junk in (None, 5, "yc", [], [["x"]], [["x"], ["x"], ["c"]])],
    space_state(axes=[axis_state(), axis_state()]),
    *[
        space_state(axes=[axis_state(values=junk)])
        for junk in (
            *(None, 5, "abc", {}, [], [1, 3, 2], [1.5], [True], {"range": [0, 3]}),
            *({"range": [0, 3, 0]}, {"range": [3, 0, 1]}, {"range": [0, 3, 0.5]}),
            *({"range": [0, 10**30, 1]}, {"range": None}, {"range": ["0", "3", "1"]}),
        )
    ],
    *[space_state(axes=[axis_state(scale=junk)]) for junk in ("cubic", 5, [])],
    space_state(axes=[axis_state(values={"range": [-1, 3, 1]}, scale="log")]),
    *[space_state(axes=[axis_state(path=junk)]) for junk in (None, 5, [], ["y"], "xy")],
    *[list_state(path=junk) for junk in (["x", 1], ["x", -1], ["x", True], ["x", 0, 0], ["y", 0])],
    *[list_state() | {"axes": [axis_state(path=["x", 0])] * 2}],
    *[list_state() | {"tuples": junk} for junk in (None, 5, [5], [["c"]], [["x", 0]], [["x", 5]])],
    *[list_state() | {"constants": {"x": junk, "c": 1}} for junk in (None, 5, "x", {}, [], [5])],
]


@pytest.mark.parametrize("state", DAMAGED, ids=repr)
def test_a_damaged_space_is_a_state_error(state):
    with pytest.raises(StateError, match="saved search space"):
        IntegerSpace.from_json(state)
