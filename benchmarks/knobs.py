"""What knobs beside threads and instances gain, and whether the search says no where one hurts.

    python benchmarks/knobs.py --json knobs.json
    python benchmarks/knobs.py --models mobilenet lstm --trials 30 --rounds 8

For each model:

* The tool is used twice as a user does, `tune.run` on a local Ray from TensorFlow's default, and
  then `verdict`: with threads and instances alone, and with all knobs that are to be had here.
  Those that change results, as bfloat16, are left out.
* The first choice with each single word of a knob shows what that word is worth.
* All of these meet the default in common rounds of fresh processes. These alone count: what made
  one of them the best flatters it.

It says how each of them goes, and ends with two tables. A ratio is how many times as many steps are
done in the same time, with its 95 % interval by the signed-rank test, as the verdict's final has
it. A word that failed says why.

Each word needs a process of its own that imports TensorFlow, so all of it takes long: about a
quarter of an hour for a model on two cores. Fewer --rounds make it shorter.
"""

import argparse
import contextlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cloudpickle
import instances
import models
from instances import chosen, distinct, gains, interval, new_bench, sayer, told, tuned, turned
from models import RECORDED, SERVED

from kamerton_ray import usable_cpus
from kamerton_ray.answer.rounds import Round
from kamerton_ray.answer.signed_rank import Interval
from kamerton_ray.machine.knobs import KNOBS, STOCK, offered
from kamerton_ray.machine.threads import default_threads
from kamerton_ray.trial.config import Config, in_words

cloudpickle.register_pickle_by_value(models)

BUILDS = {build.__name__: build for build in (*SERVED, *RECORDED)}

NAMES = tuple(name for name, knob in KNOBS.items() if not knob.warning)

AT_ONCE = 5
"""So many configurations are built beside the default and the plain choice in a round."""

NOTABLE = 1.05
"""From here on a gain is worth a knob."""


# --- common rounds --------------------------------------------------------------------------------


def together(build, plain: Config, others: list[Config], args: argparse.Namespace) -> list[Round]:
    """Rounds of the others, a few at a time, each time in another order.

    In each of them are the default and the plain choice, which they are compared with.
    """
    parts = (others[i : i + AT_ONCE] for i in range(0, len(others), AT_ONCE))
    groups = [[plain, *part] for part in parts]
    found = []
    with contextlib.ExitStack() as stack:
        # One for each group, so that every environment stays warm.
        benches = [
            stack.enter_context(contextlib.closing(new_bench(build, args.seconds, NAMES)))
            for _ in groups
        ]
        for number in range(args.rounds):
            for bench, group in zip(benches, groups, strict=True):
                found.append(bench.measure_round(turned([None, *group], number)))
    return found


def words() -> dict[str, dict[str, str]]:
    """Each word that is to be had here, as a configuration says it, by its knob and name."""
    found = {}
    for name in NAMES:
        knob = KNOBS[name]
        for word in offered([name]).words.get(knob.parameter, ())[1:]:
            found[f"{name}: {word}"] = {knob.parameter: word}
    return found


# --- a model --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was found of a model.

    Attributes:
        model: Its name.
        plain: The choice of threads and instances alone; None is the default.
        knobs: The choice with all knobs.
        words: The plain choice with each word alone.
        rounds: The common rounds.
    """

    model: str
    plain: Config
    knobs: Config
    words: dict[str, Config]
    rounds: list[Round] = field(repr=False)

    def over_default(self, config: Config) -> Interval:
        """How many times the default's steps one does."""
        return interval(gains(self.rounds, config))

    def over_plain(self, config: Config) -> Interval:
        """How many times the plain choice's."""
        return interval(gains(self.rounds, config, self.plain))

    def error(self, config: Config) -> str:
        """Why a configuration failed; empty where it did not."""
        errors = (one.error for some in self.rounds for one in some if one.config == config)
        return next((one.splitlines()[-1] for one in errors if one), "")

    def lines(self) -> Iterator[str]:
        """How each fares, in words."""
        for name, config in {"plain": self.plain, "all knobs": self.knobs, **self.words}.items():
            said = self.error(config) or (
                f"{told(self.over_default(config)):<20} of the default, "
                f"{told(self.over_plain(config))} of the plain choice"
            )
            yield f"  {name:<24} {said}"

    @property
    def gains(self) -> bool:
        """Whether a knob gains enough, beyond noise."""
        best = [self.over_plain(one) for one in (self.knobs, *self.words.values())]
        return any(one.low > 0 and one.middle >= math.log(NOTABLE) for one in best)

    def row(self) -> str:
        """Its row in the table of choices."""
        cells = [
            self.model,
            in_words(self.plain),
            told(self.over_default(self.plain)),
            in_words({name: said for name, said in self.knobs.items() if said != STOCK}),
            told(self.over_default(self.knobs)),
            told(self.over_plain(self.knobs)),
        ]
        return f"| {' | '.join(cells)} |"

    def words_row(self) -> str:
        """Its row in the table of words."""
        cells = [
            "failed" if self.error(config) else told(self.over_plain(config))
            for config in self.words.values()
        ]
        return f"| {' | '.join([self.model, *cells])} |"


HEAD = """
| model | threads and instances alone | of the default | with all knobs | of the default | \
of the choice without |
|---|---|---|---|---|---|"""


def measured(build, args: argparse.Namespace) -> tuple[Found, dict[str, object]]:
    """What was found of a model, and all its results."""
    say = sayer(build.__name__)
    usual = {"instances": 1, **default_threads(usable_cpus().count)}
    raw: dict[str, object] = {"model": build.__name__}
    choices = []
    for name, knobs in {"plain": (), "knobs": NAMES}.items():
        results, answer = tuned(
            build,
            seconds=args.seconds,
            compare_s=args.compare,
            knobs=knobs,
            trials=args.trials,
        )
        say(f"{name}: {len(results)} trials, {answer.decision.value}: {answer.sentence}")
        for one in results if knobs else []:
            told_of = one.error.splitlines()[-1] if one.error else f"{one.speedup:.2f}x"
            say(f"    {in_words(one.config)}  {told_of}")
        raw[name] = {"search": results, "verdict": answer.to_json(rounds=True)}
        choice = chosen(answer) or usual
        stock = {KNOBS[one].parameter: STOCK for one in NAMES}
        choices.append({**choice, **{one: STOCK for one in stock if one not in choice}})
    plain, best = choices
    alone = {name: {**plain, **word} for name, word in words().items()}
    others = [one for one in distinct([best, *alone.values()]) if one not in (None, plain)]
    rounds = together(build, plain, others, args)
    found = Found(model=build.__name__, plain=plain, knobs=best, words=alone, rounds=rounds)
    say("\n".join([f"{args.rounds} common rounds", *found.lines()]))
    return found, {**raw, "rounds": rounds}


def compared(args: argparse.Namespace) -> None:
    """Print how each model goes, and the tables; keep the results of those that are done."""
    for sentence in offered(NAMES).said:
        print(sentence)
    found, kept = [], []
    for name in args.models:
        one, raw = measured(BUILDS[name], args)
        found.append(one)
        kept.append(raw)
        if args.json:
            args.json.write_text(json.dumps(kept, default=instances._plain), encoding="utf-8")  # noqa: SLF001 - a sister
    print(HEAD, *(one.row() for one in found), sep="\n")
    head = f"| each word alone, of the choice without | {' | '.join(words())} |"
    print(
        f"\n{head}",
        f"|{'---|' * (len(words()) + 1)}",
        *(one.words_row() for one in found),
        sep="\n",
    )
    gaining = [one.model for one in found if one.gains]
    whom = ", ".join(gaining) or "none"
    print(f"\na knob gains {NOTABLE - 1:.0%} or more, beyond noise, for {whom}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    usual = [build.__name__ for build in SERVED]
    parser.add_argument("--models", nargs="+", choices=BUILDS, default=usual, metavar="NAME")
    parser.add_argument("--seconds", type=float, default=2.0, help="measured a trial (%(default)s)")
    parser.add_argument("--trials", type=int, default=-1, help="at most so many a search")
    parser.add_argument("--rounds", type=int, default=12, help="common ones (%(default)s)")
    parser.add_argument(
        "--compare", type=float, default=60.0, help="the verdict's seconds (%(default)s)"
    )
    parser.add_argument("--json", type=Path, help="keep every result in this file")
    compared(parser.parse_args())


if __name__ == "__main__":
    main()
