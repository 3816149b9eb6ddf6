"""The options of the commands that search: how each is read, and one record of all of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import click

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.machine.knobs import KNOBS, check_names
from kamerton_ray.machine.threads import THREADS
from kamerton_ray.report.exports import FORMS
from kamerton_ray.search.constraints import AtMost
from kamerton_ray.trial.config import is_variable
from kamerton_ray.trial.instances import Combine
from kamerton_ray.tune.goal import Bounds, Domain

Knob = tuple[str, Domain]
Trait = tuple[str, str | int]
Limit = tuple[str, float]

Command = Callable[..., None]
Decorator = Callable[[Command], Command]

TRAITS = ("cpu_model", "usable_cpus", "slots")
"""What nodes can be chosen by."""

WITHIN = 0.02
"""Configurations no farther apart than this share count as equal, unless the user says another."""

ALL_CPUS = 1 << 20
"""As the highest number of instances: as many as there are usable CPUs."""

COMBINE = {one.word: one for one in Combine}
"""What the numbers of several instances come to, by the name that the user types."""

FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """What the user says of a search, whatever is tuned.

    Attributes:
        intra: The range of intra-op threads; None for the usual one, as the next.
        inter: The range of inter-op threads.
        instances: How many instances run at the same time; None where that is not tuned.
        constraints: What no trial may break.
        knobs: The variables that are tuned, too, by their names.
        also: The knobs that are tuned, too, by theirs.
        trials: At most so many trials.
        time_budget: The command may take so many seconds.
        quick: Whether a quick answer is wanted.
        sure: Whether it may take as long as it needs.
        address: The Ray cluster's; None to start Ray here.
        kinds: What the nodes have to be.
        shared: Whether the machine does other work, too.
        storage: Where the session's folder is made.
        resume: The folder of the session to go on with.
        page: The file to write a page into.
        form: The form in which the setting is printed; None for a sentence.
        as_json: Whether to print the answer as JSON.
        quiet: Whether to show nothing on the way.
        seed: What settles the search's chance.
        within: Configurations no farther apart than this share count as equal. A script's loop has
            this and the next two not, since nothing is compared.
        fewest: Whether of those the one with the fewest threads is wanted.
        no_compare: Whether to leave out the comparison with the default.
    """

    intra: Bounds | None = None
    inter: Bounds | None = None
    instances: Bounds | None = None
    constraints: tuple[AtMost, ...] = ()
    knobs: tuple[Knob, ...] = ()
    also: tuple[str, ...] = ()
    trials: int | None = None
    time_budget: float | None = None
    quick: bool = False
    sure: bool = False
    address: str | None = None
    kinds: tuple[Trait, ...] = ()
    shared: bool = False
    storage: Path = Path("kamerton-ray")
    resume: Path | None = None
    page: Path | None = None
    form: str | None = None
    as_json: bool = False
    quiet: bool = False
    seed: int = 0
    within: float = WITHIN
    fewest: bool = False
    no_compare: bool = False

    def threads(self) -> dict[str, Bounds | None]:
        """The ranges of the two counts, by their names in a configuration."""
        return dict(zip(THREADS, (self.intra, self.inter), strict=True))


def bounds(text: str) -> Bounds:
    """`1:16`, both included."""
    try:
        low, high = (int(part) for part in text.split(":"))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not of the form 1:16") from None
    if low < 0:
        raise click.BadParameter(f"{text!r}: the first number must be 0 or more")
    if low > high:
        raise click.BadParameter(f"{text!r}: the first number must not be above the second")
    return low, high


def instances(text: str) -> Bounds:
    """`1:4`, both included, `2` alone for `2:2`, or `auto` for as many as there are CPUs."""
    if text == "auto":
        return 1, ALL_CPUS
    low, high = bounds(f"{text}:{text}" if text.isdecimal() else text)
    if low < 1:
        raise click.BadParameter(f"{text!r}: instances must be at least 1")
    return low, high


def knob(text: str) -> Knob:
    """`NAME=1:16`, or `NAME=a,b,c`."""
    name, _, said = text.partition("=")
    if not is_variable(name):
        raise click.BadParameter(f"{name!r} is not the name of a variable, in capitals")
    if "," not in said:
        return name, bounds(said)
    words = tuple(said.split(","))
    if not all(words) or len(set(words)) < len(words):
        raise click.BadParameter(f"{said!r}: the words must be distinct, and none empty")
    return name, words


def also(text: str) -> tuple[str, ...]:
    """`onednn,allocator`."""
    names = tuple(dict.fromkeys(text.split(",")))
    try:
        check_names(names)
    except InvalidInputError as error:
        raise click.BadParameter(str(error)) from None
    return names


def constraint(text: str) -> AtMost:
    """`instances*intra_op<=8`."""
    names, _, most = text.partition("<=")
    product = tuple(name.strip() for name in names.split("*"))
    if not most.strip().isdecimal() or not all(product):
        raise click.BadParameter(f"{text!r} is not of the form instances*intra_op<=8")
    return AtMost(product=product, most=int(most))


def trait(text: str) -> Trait:
    """`usable_cpus=64`, or `cpu_model=...`."""
    name, _, value = text.partition("=")
    if name not in TRAITS or not value:
        raise click.BadParameter(f"{text!r} is not of the form usable_cpus=64; keys: {TRAITS}")
    return name, int(value) if value.isdecimal() else value


def limit(text: str) -> Limit:
    """`seconds_p99=0.02`."""
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not of the form seconds_p99=0.02") from None


def shape(text: str) -> tuple[str, tuple[int, ...]]:
    """`ids=8,128`."""
    name, _, sizes = text.partition("=")
    try:
        return name, tuple(int(size) for size in sizes.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not of the form ids=8,128") from None


TIME_BUDGET = click.option(
    "--time-budget",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="The whole may take about so long: the search, and the comparison after it. By "
    "default a minute, or more where the model is slow; with --trials as long as it needs.",
)

SURE = click.option("--sure", is_flag=True, help="Take as long as a sure answer needs.")

ADDRESS = click.option(
    "--address",
    help="A Ray cluster's, to which this folder travels; without it Ray starts here.",
)

SHARED = click.option(
    "--shared",
    is_flag=True,
    help="Tune for a machine that does other work, too: nothing waits for it to end.",
)

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")

QUIET = click.option("--quiet", is_flag=True, help="Show nothing on the way.")

EQUAL_WITHIN = click.option(
    "--within",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=WITHIN,
    show_default=True,
    help="Configurations no farther apart than this share count as equal.",
)

SEARCH: tuple[Decorator, ...] = (
    click.option(
        "--intra",
        type=bounds,
        metavar="LOW:HIGH",
        help="The range of intra-op threads, both ends included; by default 1 to the usable CPUs.",
    ),
    click.option(
        "--inter",
        type=bounds,
        metavar="LOW:HIGH",
        help="The range of inter-op threads; by default 1 to the usable CPUs, at most 16.",
    ),
    click.option(
        "--instances",
        type=instances,
        metavar="LOW:HIGH",
        help="Tune how many instances run at the same time, too, at most the usable CPUs, which "
        "'auto' stands for; a number alone fixes it. Without it there is one.",
    ),
    click.option(
        "--constraint",
        "constraints",
        type=constraint,
        multiple=True,
        metavar="PRODUCT<=NUMBER",
        help="Never try what breaks it, as instances*intra_op<=8. With --instances that product is "
        "at most twice the usable CPUs, unless another is said.",
    ),
    click.option(
        "--knob",
        "knobs",
        type=knob,
        multiple=True,
        metavar="NAME=LOW:HIGH",
        help="Tune this environment variable, too: a range, or words without an order as NAME=a,b. "
        "The default goes without it.",
    ),
    click.option(
        "--also",
        callback=lambda _, __, said: also(said) if said else (),
        metavar="KNOB,...",
        help=f"Tune what else may matter, of {', '.join(KNOBS)}. bfloat16 changes results.",
    ),
    click.option("--trials", type=click.IntRange(1), help="At most so many trials."),
    TIME_BUDGET,
    click.option(
        "--quick",
        is_flag=True,
        help="Answer in half a minute: the search's best alone is compared, in a few fresh runs.",
    ),
    SURE,
    ADDRESS,
    click.option(
        "--kind",
        "kinds",
        type=trait,
        multiple=True,
        metavar="KEY=VALUE",
        help="Run on nodes of this kind alone, as usable_cpus=64; by default the most numerous.",
    ),
    SHARED,
    click.option(
        "--storage",
        type=FOLDER,
        default=Path("kamerton-ray"),
        show_default=True,
        help="Where a folder with the results is made.",
    ),
    click.option(
        "--resume",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Go on with the search in this folder.",
    ),
    click.option(
        "--report",
        "page",
        type=FILE,
        metavar="FILE",
        help="Write a page on what was found into this file, too.",
    ),
    click.option(
        "--export",
        "form",
        type=click.Choice(sorted(FORMS)),
        help="Print the setting alone, in the form in which it is put to use: for a shell (env), a "
        ".env file (dotenv), docker run, TensorFlow Serving, Python, or as JSON; with as many "
        "instances as a script that starts them (shell), for Ray Serve, Kubernetes (k8s), Docker "
        "Compose, systemd or Triton.",
    ),
    AS_JSON,
    QUIET,
    click.option(
        "--seed",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Settles what the search leaves to chance: another one takes another way.",
    ),
)

COMPARE: tuple[Decorator, ...] = (
    EQUAL_WITHIN,
    click.option(
        "--fewest",
        is_flag=True,
        help="Of those within that share of the best take the one with the fewest threads.",
    ),
    click.option(
        "--no-compare", is_flag=True, help="Leave out the comparison of the best with the default."
    ),
)


CHECK = (TIME_BUDGET, SURE, ADDRESS, SHARED, AS_JSON, QUIET, EQUAL_WITHIN)


def search_options(command: Command) -> Command:
    """Give a command the options of every search; it gets them as one record, `options`."""
    return _gathered(SEARCH, command)


def check_options(command: Command) -> Command:
    """Give a command those of a check, likewise."""
    return _gathered(CHECK, command)


def _gathered(options: Sequence[Decorator], command: Command) -> Command:
    names = {one.name for one in fields(SearchOptions)}

    @functools.wraps(command)
    def gathering(**said: object) -> None:
        shared = {name: value for name, value in said.items() if name in names}
        own = {name: value for name, value in said.items() if name not in names}
        options = SearchOptions(**shared)  # type: ignore[arg-type]  # click has read each
        command(**own, options=options)

    return _with(options, gathering)


def compare_options(command: Command) -> Command:
    """Give a command those of a comparison with the default; `search_options` gathers them, too."""
    return _with(COMPARE, command)


def combine_option(default: str) -> Decorator:
    """The option that says what the numbers of several instances come to."""
    return click.option(
        "--combine",
        type=click.Choice([*COMBINE]),
        callback=lambda _, __, said: COMBINE.get(said),
        help="What the numbers of several --instances come to: their sum, the largest (slowest), "
        f"or, as of a time, that divided by how many ran (per-program). By default {default}.",
    )


def timeout_option(default: float, text: str) -> Decorator:
    """The option that says how long something may take, in seconds."""
    return click.option(
        "--timeout",
        type=click.FloatRange(0, min_open=True),
        default=default,
        show_default=True,
        metavar="SECONDS",
        help=text,
    )


def _with(options: Sequence[Decorator], command: Command) -> Command:
    """A command with these options, the first of them shown first."""
    for option in reversed(options):
        command = option(command)
    return command
