"""The searchers that search.py compares, each through its own interface at its default settings.

A searcher is a function of a `Task`: it calls `task.measure(config)` until that raises `Spent` or
it stops by itself. Every one measures the task's start point first, where it can be told to.

Three of them are there once more with ", log": told that the counts are to be seen on a logarithmic
scale, which kamerton_ray does without being told. One is no searcher: it knows the surface, and so
shows what there is to get.
"""

import contextlib
import io
import itertools
import logging
import math
import random
import statistics
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from surfaces import Config, Surface

from kamerton_ray import NelderMead
from kamerton_ray.search.nelder_mead import Suggestion

OUTLIERS = 0.015
"""The share of measurements that something disturbs."""

LOOKS = 8
"""So many configurations are measured by what knows the surface."""

REFUSALS = 50
"""After so many suggestions of nothing in a row BlendSearch counts as done. So many of Optuna's and
Ax's suggestions that break a constraint cost no trial."""


class Spent(Exception):  # noqa: N818 - it is no error
    """The task's budget is spent."""


@dataclass
class Task:
    """One search on one surface: measures with noise, and keeps count.

    Attributes:
        surface: What is searched.
        noise: The standard deviation of a measurement's logarithm.
        budget: How many measurements there are.
        seed: Settles the noise, and the searcher's own randomness.
        regrets: The true regret of the recommended configuration after each measurement.
        waits: The seconds the searcher took before each measurement.
        wave: How many measurements are taken side by side.
        least: The least true regret of all that was measured.
    """

    surface: Surface
    noise: float
    budget: int
    seed: int
    wave: int = 1
    least: float = math.inf
    regrets: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        # Of its own for each surface, lest one unlucky trial meet them all.
        self._rng = np.random.default_rng([self.seed, zlib.crc32(self.surface.name.encode())])
        self._best: tuple[float, Config] | None = None
        self._since = time.perf_counter()

    def measure(self, config: Config) -> float:
        """The noisy step time of a configuration; the best so far is what is recommended.

        It is infinite where the constraint is broken.
        """
        self.waits.append(time.perf_counter() - self._since)
        if len(self.waits) > self.budget:
            raise Spent
        value = self.surface.seconds(config) if self.surface.excess(config) <= 0 else math.inf
        if self.noise:
            value *= float(np.exp(self.noise * self._rng.standard_normal()))
            if self._rng.random() < OUTLIERS:
                value *= float(self._rng.uniform(1.3, 2.0))
        if self._best is None or value < self._best[0]:
            self._best = (value, dict(config))
        self.regrets.append(self.surface.regret(self._best[1]))
        if math.isfinite(value):
            self.least = min(self.least, self.surface.regret(config))
        self._since = time.perf_counter()
        return value

    def recommend(self, config: Config) -> None:
        """Recommend this one instead of the best so far."""
        self.regrets[-1] = self.surface.regret(config)


Searcher = Callable[[Task], None]


def kamerton_ray(task: Task) -> None:
    """This project's searcher."""
    search = NelderMead(
        _domains(task.surface),
        start=[task.surface.start],
        seed=task.seed,
        budget=task.budget,
        constraints=task.surface.constraint or (),
    )
    opened: list[Suggestion] = []
    while True:
        while len(opened) < task.wave and isinstance(found := search.ask(), Suggestion):
            opened.append(found)
        if not opened:
            return
        for one in opened:
            search.tell(one.id, task.measure(one.config))
            best = search.best
            if best is not None:
                task.recommend(best.config)
        opened = []


def knows_the_surface(task: Task) -> None:
    """No searcher, but what there is to get: it knows the surface without anybody telling it.

    What each configuration has for itself it does not know. So it measures the best few, and
    believes the surface as much as the measurement.
    """
    smooth = task.surface.smooth or task.surface.seconds
    found = {}
    for config in sorted(task.surface.configs(), key=smooth)[:LOOKS]:
        found[math.sqrt(smooth(config) * task.measure(config))] = config
        task.recommend(found[min(found)])


def random_search(task: Task) -> None:
    """Random without repeats."""
    configs = task.surface.configs()
    random.Random(task.seed).shuffle(configs)  # noqa: S311
    task.measure(task.surface.start)
    for config in configs:
        if config != task.surface.start:
            task.measure(config)


def scipy_nelder_mead(task: Task) -> None:
    """SciPy's Nelder-Mead, rounded."""
    from scipy.optimize import minimize

    axes = task.surface.axes
    start = [axes[name].index(value) for name, value in task.surface.start.items()]

    def value(x: np.ndarray) -> float:
        indices = (round(float(i)) for i in x)
        return task.measure({n: v[i] for (n, v), i in zip(axes.items(), indices, strict=True)})

    bounds = [(0, len(values) - 1) for values in axes.values()]
    minimize(value, start, method="Nelder-Mead", bounds=bounds)


def kamerton(task: Task) -> None:
    """The forking tuner's published algorithm, written afresh from its description.

    A start vertex and steps of half of it; int() truncation, at least 1, no upper bound but that of
    the surface, no memory of what was measured; the end when the objectives' standard deviation is
    below 0.01. Of its known faults the expansion is kept: it forgets to add the centre.
    """
    axes = task.surface.axes
    lows = np.array([values[0] for values in axes.values()])

    def value(vertex: np.ndarray) -> float:
        indices = np.maximum(vertex.astype(int), lows)
        config = {
            name: min(values, key=lambda v, i=i: abs(v - i))
            for (name, values), i in zip(axes.items(), indices, strict=True)
        }
        return task.measure(config)

    first = np.array(list(task.surface.start.values()), dtype=float)
    vertices = [first, *(first + step for step in np.diag(np.ceil(first / 2)))]
    simplex = [(value(vertex), tuple(vertex)) for vertex in vertices]
    for _ in range(200):
        simplex.sort()
        if statistics.pstdev(v for v, _ in simplex) < 0.01:  # noqa: PLR2004 - its default
            return
        centre = np.mean([vertex for _, vertex in simplex[:-1]], axis=0)
        worst = np.array(simplex[-1][1])
        reflected = centre + (centre - worst)
        at_reflected = value(reflected)
        if at_reflected < simplex[0][0]:
            expanded = reflected - centre
            at_expanded = value(expanded)
            better = at_expanded < at_reflected
            simplex[-1] = (
                (at_expanded, tuple(expanded)) if better else (at_reflected, tuple(reflected))
            )
        elif at_reflected < simplex[1][0]:
            simplex[-1] = (at_reflected, tuple(reflected))
        else:
            contracted = centre + 0.5 * (worst - centre)
            at_contracted = value(contracted)
            if at_contracted < simplex[-1][0]:
                simplex[-1] = (at_contracted, tuple(contracted))
            else:
                best = np.array(simplex[0][1])
                moved = [best + 0.5 * (np.array(vertex) - best) for _, vertex in simplex[1:]]
                simplex = [simplex[0], *((value(vertex), tuple(vertex)) for vertex in moved)]


def _optuna(task: Task, name: str, *, log: bool = False) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    samplers = {
        "tpe": optuna.samplers.TPESampler,
        "gp": optuna.samplers.GPSampler,
        "cmaes": optuna.samplers.CmaEsSampler,
    }
    knows = {}
    if task.surface.constraint is not None:
        knows["constraints_func"] = lambda trial: (trial.user_attrs["excess"],)
    study = optuna.create_study(sampler=samplers[name](seed=task.seed, **knows))
    study.enqueue_trial(task.surface.start)
    axes = task.surface.axes
    refused = 0
    while True:
        trial = study.ask()
        config = {
            knob: (
                trial.suggest_int(knob, values[0], values[-1], log=log and values[0] > 0)
                if _even(values)
                else values[trial.suggest_int(knob, 0, len(values) - 1)]
            )
            for knob, values in axes.items()
        }
        excess = task.surface.excess(config)
        trial.set_user_attr("excess", excess)
        if excess > 0 and refused < REFUSALS:
            # Whether a constraint is kept is known without a trial, so it costs none.
            refused += 1
            study.tell(trial, math.inf)
        else:
            study.tell(trial, task.measure(config))


def optuna_tpe(task: Task) -> None:
    """Optuna, tree-structured Parzen estimator (its default)."""
    _optuna(task, "tpe")


def optuna_gp(task: Task) -> None:
    """Optuna, Gaussian process."""
    _optuna(task, "gp")


def optuna_gp_log(task: Task) -> None:
    """The same, told the logarithmic scale."""
    _optuna(task, "gp", log=True)


def optuna_cmaes(task: Task) -> None:
    """Optuna, CMA-ES."""
    _optuna(task, "cmaes")


def blendsearch(task: Task) -> None:
    """FLAML's BlendSearch, with the start as its low-cost point."""
    from flaml import BlendSearch
    from flaml import tune as flaml_tune

    axes = task.surface.axes
    space = {name: flaml_tune.randint(0, len(values)) for name, values in axes.items()}
    start = {name: axes[name].index(value) for name, value in task.surface.start.items()}
    np.random.seed(task.seed)  # noqa: NPY002 - it has no seed of its own
    searcher = BlendSearch(
        metric="loss", mode="min", space=space, points_to_evaluate=[start], seed=task.seed
    )
    refused = 0
    for number in map(str, itertools.count()):
        indices = searcher.suggest(number)
        if not indices:
            # It refuses points it knows; on a small lattice nothing else may come any more.
            refused += 1
            if refused > REFUSALS:
                return
            continue
        refused = 0
        value = task.measure({name: axes[name][indices[name]] for name in axes})
        result = {"loss": value, "training_iteration": 1, "config": indices}
        searcher.on_trial_complete(number, result)


def hyperopt_tpe(task: Task) -> None:
    """HyperOpt, tree-structured Parzen estimator."""
    import hyperopt

    logging.getLogger("hyperopt").setLevel(logging.CRITICAL)  # the budget's end is no failure
    hyperopt.fmin(
        lambda found: task.measure(_config(task.surface, found)),
        {name: hyperopt.hp.randint(name, most + 1) for name, most in _ends(task.surface).items()},
        algo=hyperopt.tpe.suggest,
        max_evals=10 * task.budget,
        points_to_evaluate=[_start(task.surface)],
        rstate=np.random.default_rng(task.seed),
        show_progressbar=False,
        catch_eval_exceptions=False,
    )


def bayesian_optimization(task: Task) -> None:
    """The package bayesian-optimization, with integer parameters."""
    from bayes_opt import BayesianOptimization

    warnings.simplefilter("ignore")
    optimizer = BayesianOptimization(
        f=None,
        pbounds={name: (0, most, int) for name, most in _ends(task.surface).items()},
        random_state=task.seed,
        verbose=0,
        allow_duplicate_points=True,
    )
    found = _start(task.surface)
    while True:
        value = task.measure(_config(task.surface, found))
        with contextlib.redirect_stdout(io.StringIO()):  # it prints each point that it repeats
            optimizer.register(params=found, target=-value)
        found = optimizer.suggest()


def nevergrad(task: Task) -> None:
    """Nevergrad's NGOpt, which chooses among its algorithms."""
    import nevergrad as ng

    warnings.simplefilter("ignore")
    axes = task.surface.axes
    choices = {
        name: ng.p.Scalar(
            init=values.index(task.surface.start[name]), lower=0, upper=max(1, len(values) - 1)
        ).set_integer_casting()
        for name, values in axes.items()
    }
    optimizer = ng.optimizers.NGOpt(parametrization=ng.p.Dict(**choices), budget=task.budget)
    optimizer.parametrization.random_state = np.random.RandomState(task.seed)
    optimizer.suggest({name: axes[name].index(v) for name, v in task.surface.start.items()})
    while True:
        asked = optimizer.ask()
        config = {n: axes[n][min(len(axes[n]) - 1, i)] for n, i in asked.value.items()}
        optimizer.tell(asked, task.measure(config))


def smac(task: Task, *, log: bool = False) -> None:
    """SMAC3's HyperparameterOptimizationFacade, with every part at its default.

    A quarter of the trials are a Sobol sequence, then a random forest's expected improvement
    chooses, and chance for every fifth configuration; what looks best is run up to three times. As
    for all rivals the best measured is recommended. Two processes search alike only with the same
    PYTHONHASHSEED.
    """
    from ConfigSpace import ConfigurationSpace, Integer
    from smac import HyperparameterOptimizationFacade, Scenario
    from smac.main.exceptions import ConfigurationSpaceExhaustedException
    from smac.runhistory import TrialInfo, TrialValue

    warnings.simplefilter("ignore")
    logging.getLogger("smac").setLevel(logging.CRITICAL)
    surface = task.surface
    start, ends, first = _start(surface), _ends(surface), int(log)
    space = ConfigurationSpace()
    space.add(
        [
            Integer(name, (first, first + most), default=first + start[name], log=log)
            for name, most in ends.items()
        ]
    )
    space.add(_forbidden(space, surface, first))
    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(
            space, n_trials=task.budget, seed=task.seed, output_directory=Path(folder)
        )
        search = HyperparameterOptimizationFacade(scenario, logging_level=False)
        trial = TrialInfo(space.get_default_configuration(), seed=task.seed)
        while True:
            value = task.measure(_config(surface, trial.config, first))
            search.tell(trial, TrialValue(value), save=False)
            try:
                trial = search.ask()
            except (StopIteration, ConfigurationSpaceExhaustedException):
                return


def smac_log(task: Task) -> None:
    """The same, told the logarithmic scale."""
    smac(task, log=True)


def _forbidden(space, surface: Surface, base: int) -> list:
    """The constraint for ConfigSpace: where the first count is above one, the second has its limit.

    Both are whole numbers from 1 on, so each is its index and 1; the space counts from `base`.
    """
    from ConfigSpace import ForbiddenAndConjunction, ForbiddenGreaterThanClause

    if surface.constraint is None:
        return []
    first, second = surface.constraint.product
    limits = {value: surface.constraint.most // value for value in surface.axes[first][1:]}
    return [
        ForbiddenAndConjunction(
            ForbiddenGreaterThanClause(space[first], base + value - 2),
            ForbiddenGreaterThanClause(space[second], base + limit - 1),
        )
        for value, limit in limits.items()
        if limit < surface.axes[second][-1]
    ]


def ax(task: Task, *, log: bool = False) -> None:
    """Ax's Client with the generation strategy that it chooses by default.

    That is the centre, a few Sobol points, then BoTorch's Gaussian process and its expected
    improvement. A constraint is one of its outcomes. As for all rivals the best measured is
    recommended; what Ax's own model takes for the best was worse.
    """
    from ax.api.client import Client
    from ax.api.configs import RangeParameterConfig
    from ax.exceptions.core import SearchSpaceExhausted
    from ax.utils.common.logger import set_ax_logger_levels

    warnings.simplefilter("ignore")
    set_ax_logger_levels(logging.CRITICAL)
    surface, first = task.surface, int(log)
    client = Client(random_seed=task.seed)
    client.configure_experiment(
        [
            RangeParameterConfig(
                name=name,
                bounds=(first, first + most),
                parameter_type="int",
                scaling="log" if log else None,
            )
            for name, most in _ends(surface).items()
        ]
    )
    limits = [] if surface.constraint is None else ["excess <= 0"]
    client.configure_optimization("-seconds", outcome_constraints=limits)
    found = {name: first + index for name, index in _start(surface).items()}
    number = client.attach_trial(found)
    refused = 0
    while True:
        config = _config(surface, found, first)
        excess = surface.excess(config)
        outcome = {"excess": excess} if limits else {}
        if excess <= 0:
            outcome["seconds"] = task.measure(config)
        elif refused < REFUSALS:
            refused += 1
        else:
            task.measure(config)
        client.complete_trial(number, outcome)
        try:
            ((number, found),) = client.get_next_trials(1).items()
        except SearchSpaceExhausted:
            return


def ax_log(task: Task) -> None:
    """The same, told the logarithmic scale."""
    ax(task, log=True)


def _ends(surface: Surface) -> dict[str, int]:
    """The last index of each axis that leaves a choice."""
    return {n: len(values) - 1 for n, values in surface.axes.items() if len(values) > 1}


def _start(surface: Surface) -> dict[str, int]:
    """The start's indices on these axes."""
    return {name: surface.axes[name].index(surface.start[name]) for name in _ends(surface)}


def _config(surface: Surface, indices: Mapping[str, float], first: int = 0) -> Config:
    """The configuration at some indices, counted from `first`; an axis without has one value."""
    return {
        name: values[round(indices.get(name, first)) - first]
        for name, values in surface.axes.items()
    }


def _domains(surface: Surface) -> dict[str, object]:
    from ray import tune

    return {
        name: range(values[0], values[-1] + 1) if _even(values) else tune.choice(list(values))
        for name, values in surface.axes.items()
    }


def _even(values: tuple[int, ...]) -> bool:
    return values == tuple(range(values[0], values[-1] + 1))


CONSTRAINED = (
    *("kamerton_ray", "Optuna TPE", "Optuna GP", "Optuna GP, log"),
    *("SMAC3", "SMAC3, log", "Ax", "Ax, log", "random"),
)
"""The searchers that can be told of a constraint."""

SEARCHERS: dict[str, Searcher] = {
    "kamerton_ray": kamerton_ray,
    "Optuna TPE": optuna_tpe,
    "Optuna GP": optuna_gp,
    "Optuna GP, log": optuna_gp_log,
    "Optuna CMA-ES": optuna_cmaes,
    "SMAC3": smac,
    "SMAC3, log": smac_log,
    "Ax": ax,
    "Ax, log": ax_log,
    "BlendSearch": blendsearch,
    "HyperOpt TPE": hyperopt_tpe,
    "bayesian-optimization": bayesian_optimization,
    "Nevergrad NGOpt": nevergrad,
    "random": random_search,
    "SciPy Nelder-Mead": scipy_nelder_mead,
    "Kamerton": kamerton,
    "knows the surface": knows_the_surface,
}
