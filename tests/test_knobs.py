"""Knobs beside the threads: each takes effect in the trial's process, and the default has none."""

import contextlib
import importlib.metadata
import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import cloudpickle
import pytest

from kamerton_ray import InvalidInputError
from kamerton_ray.answer.finalists import _is_default
from kamerton_ray.machine import knobs as records
from kamerton_ray.machine.hardware import cpu_model
from kamerton_ray.machine.knobs import KNOBS, STOCK, exported, joined, offered
from kamerton_ray.machine.libraries import find_library, missing_preload
from kamerton_ray.process.effects import NAMED_SINCE, without_effect
from kamerton_ray.process.outcome import Outcome
from kamerton_ray.report.exports import export
from kamerton_ray.trial.bench import Bench, BenchOptions, Isolation
from kamerton_ray.trial.command import CommandOptions, Runner
from kamerton_ray.trial.config import in_words
from kamerton_ray.trial.knobs import Knobs
from kamerton_ray.trial.logged import KEPT
from kamerton_ray.trial.result import Result
from kamerton_ray.trial.script import Script, ScriptRunner
from kamerton_ray.trial.timing import TimingOptions

cloudpickle.register_pickle_by_value(sys.modules[__name__])

JEMALLOC = find_library("libjemalloc.so.2")
needs_jemalloc = pytest.mark.skipif(JEMALLOC is None, reason="jemalloc is not installed")

ALLOCATORS = offered(["allocator", "malloc", "thp"]).words.get("allocator", ())
TENSORFLOW = tuple(map(int, importlib.metadata.version("tensorflow").split(".")[:2]))
NAMES_ITS_THREADS = TENSORFLOW >= NAMED_SINCE
SHOWN = ("LD_PRELOAD", "MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


@contextlib.contextmanager
def bench(build, *names, tensorflow=False, pair=False):
    made = Bench(
        build,
        BenchOptions(
            timing=TimingOptions(warmup_s=0.05, budget_s=0.1),
            timeout_s=60.0,
            pair=pair,
            env={},
            isolation=Isolation.FORK,
            tensorflow=tensorflow,
            knobs=names,
        ),
    )
    try:
        yield made
    finally:
        made.close()


def waiting():
    return lambda: time.sleep(0.002)


def report_to(folder):
    """A build that writes down what its process has, and of what configuration."""

    def build(config):
        found = {name: os.environ.get(name) for name in SHOWN}
        maps = Path("/proc/self/maps").read_text()
        mapped = [name for name in ("tcmalloc", "jemalloc") if f"lib{name}" in maps]
        told = {"config": config, "mapped": mapped, **found}
        (folder / f"{os.getpid()}.json").write_text(json.dumps(told))
        numbers = [bytes(200_000) for _ in range(300)]
        return lambda: time.sleep(0.002) or len(numbers)

    return build


def products_in(folder):
    """A build whose step XLA finds something to compile in; it writes down what TensorFlow has."""

    def build(config):
        import tensorflow as tf
        from tensorflow.python.util import _pywrap_util_port as port

        options = tf.config.optimizer.get_experimental_options()
        told = {
            "config": config,
            "onednn": port.IsMklEnabled(),
            "malloc": os.environ.get("TF_ONEDNN_USE_SYSTEM_ALLOCATOR"),
            "xla": os.environ.get("TF_XLA_FLAGS"),
            "bfloat16": bool(options.get("auto_mixed_precision_onednn_bfloat16")),
        }
        (folder / f"{os.getpid()}.json").write_text(json.dumps(told))
        weights = tf.Variable(tf.random.uniform((64, 64)))

        @tf.function
        def step():
            found = weights
            for _ in range(4):
                found = tf.tanh(found @ weights) * 2.0 + tf.exp(-found)
            return found

        return step

    return build


# --- what there is ------------------------------------------------------------------------------


def test_a_library_is_found_where_the_loader_looks_and_nothing_else_is():
    assert find_library("libm.so.6").is_file()
    assert find_library("libno-such-library.so.7") is None


def test_a_library_for_another_machine_is_not_found(tmp_path, monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    other = tmp_path / "libother.so.1"
    other.write_bytes(b"\x7fELF\x01\x01" + bytes(12) + b"\x03\x00")
    assert find_library("libother.so.1") is None
    other.write_bytes(Path(sys.executable).resolve().read_bytes()[:64])
    assert find_library("libother.so.1") == other


def test_what_is_not_there_is_left_out_and_said(monkeypatch):
    monkeypatch.setattr(records, "find_library", lambda _: None)
    offer = offered(["allocator"])
    assert offer.words == {}
    tcmalloc, jemalloc = offer.said
    assert "tcmalloc, since no libtcmalloc_minimal.so.4 or libtcmalloc.so.4 is where" in tcmalloc
    assert "jemalloc, since no libjemalloc.so.2 is where the loader looks." in jemalloc


def test_knobs_of_one_allocator_share_a_parameter_whose_first_word_is_stock(monkeypatch):
    monkeypatch.setattr(records, "find_library", lambda name: Path("/lib", name))
    monkeypatch.setattr(records, "_no_huge_pages", lambda: "")
    offer = offered(["allocator", "malloc"])
    assert offer.words["allocator"] == (STOCK, "tcmalloc", "jemalloc", "one-arena", "keep")


@pytest.mark.parametrize("said", ["always [madvise] never", "[always] madvise never"])
def test_huge_pages_are_worth_a_try_where_malloc_has_to_ask_for_them(said, tmp_path, monkeypatch):
    pages = tmp_path / "enabled"
    pages.write_text(said)
    monkeypatch.setattr(records, "HUGE_PAGES", pages)
    monkeypatch.setattr(records, "_glibc", lambda: (2, 36))
    assert bool(offered(["thp"]).words) is ("[madvise]" in said)


@pytest.mark.parametrize(
    ("flags", "words"),
    [("fpu avx2", (STOCK, "off", "on", "system-malloc")), ("avx512_vnni", (STOCK, "off"))],
)
def test_onednn_is_not_switched_on_where_it_is_by_default(flags, words, tmp_path, monkeypatch):
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor : 0\nflags : {flags}\n")
    monkeypatch.setattr(records, "CPU_INFO", info)
    monkeypatch.setattr(records.platform, "machine", lambda: "x86_64")
    assert offered(["onednn"]).words["onednn"][: len(words)] == words
    assert ("on" in offered(["onednn"]).words["onednn"]) is ("on" in words)


GRAVITON = {
    number: f"processor\t: 0\nFeatures\t: fp asimd {bf16}\nCPU implementer\t: 0x41\n"
    f"CPU part\t: {number}\n"
    for number, bf16 in {"0xd0c": "", "0xd40": "bf16", "0xd4f": "bf16"}.items()
}
"""What the kernel says of Graviton 2, 3 and 4: files alone, which no test here runs on."""


def on_aarch64(info, tmp_path, monkeypatch):
    file = tmp_path / "cpuinfo"
    file.write_text(info)
    monkeypatch.setattr(records, "CPU_INFO", file)
    monkeypatch.setattr(records.platform, "machine", lambda: "aarch64")
    return file


@pytest.mark.parametrize(
    ("part", "name", "default", "words"),
    [
        ("0xd0c", "Neoverse N1", "off", ()),
        ("0xd40", "Neoverse V1", "unsure", (STOCK, "fast-math")),
        ("0xd4f", "Neoverse V2", "off", (STOCK, "fast-math")),
    ],
)
def test_on_aarch64_onednn_and_fast_math_are_variables(
    part, name, default, words, tmp_path, monkeypatch
):
    file = on_aarch64(GRAVITON[part], tmp_path, monkeypatch)
    assert cpu_model(file) == name
    assert records.onednn_default() == default
    assert offered(["onednn"]).words["onednn"] == (STOCK, "off", "on", "system-malloc")
    offer = offered(["bfloat16"])
    assert offer.words.get("bfloat16", ()) == words
    assert "Left out of bfloat16: on, since fast-math is there for aarch64." in offer.said
    assert any("changes results" in one for one in offer.said) is bool(words)
    if words:  # a variable sets it, in a program as well
        own = Knobs(["bfloat16"])
        assert own.tunes_onednn
        assert own.variables({"bfloat16": "fast-math"}) == {
            "TF_ENABLE_ONEDNN_OPTS": "1",
            "DNNL_DEFAULT_FPMATH_MODE": "BF16",
        }
        Runner(CommandOptions(argv=("true",), knobs=("bfloat16",))).close()


def test_another_cpu_of_aarch64_has_its_numbers_for_a_name(tmp_path, monkeypatch):
    info = GRAVITON["0xd0c"].replace("0xd0c", "0xd81")
    file = on_aarch64(info, tmp_path, monkeypatch)
    assert cpu_model(file) == "aarch64 0x41:0xd81"
    file.write_text("processor : 0\n")
    assert cpu_model(file)


def test_fast_math_is_for_aarch64_and_its_answer_is_exported_anywhere(monkeypatch):
    monkeypatch.setattr(records.platform, "machine", lambda: "x86_64")
    said = offered(["bfloat16"]).said
    assert "Left out of bfloat16: fast-math, since it is for aarch64." in said
    assert not Knobs(["bfloat16"]).tunes_onednn
    told = export({"bfloat16": "fast-math"}, "dotenv")
    assert "DNNL_DEFAULT_FPMATH_MODE=BF16" in told
    assert "to be called" not in told


def test_what_changes_results_is_said():
    offer = offered(["bfloat16"])
    assert any("changes results" in one for one in offer.said) is bool(offer.words)


def test_another_name_is_no_knob():
    with pytest.raises(InvalidInputError, match=r"must be one of .*'allocator'.* got 'mimalloc'"):
        offered(["mimalloc"])
    with pytest.raises(InvalidInputError, match="or a variable in capitals, but got 'threads'"):
        Knobs(["threads"])
    with pytest.raises(InvalidInputError, match="a program has to make itself"):
        Runner(CommandOptions(argv=("true",), knobs=("bfloat16",)))
    with pytest.raises(InvalidInputError, match="must be a word of its knobs, but got 'mimalloc'"):
        Knobs(["allocator"]).variables({"allocator": "mimalloc"})


def test_lists_in_variables_keep_what_the_user_has_in_them():
    user = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0", "TF_XLA_FLAGS": "--x", "A": "1"}
    own = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1", "TF_XLA_FLAGS": "--y", "A": "2"}
    assert joined(user, own) == {
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.tcache_count=0",
        "TF_XLA_FLAGS": "--y --x",
        "A": "2",
    }
    # What is tuned by its name is what the user says, and no more.
    own = {"TF_XLA_FLAGS": "--z"}
    assert Knobs(["TF_XLA_FLAGS"]).applied(user, own)["TF_XLA_FLAGS"] == "--z"


# --- a model's process --------------------------------------------------------------------------


@pytest.mark.parametrize("word", [word for word in ALLOCATORS if word != STOCK])
def test_an_allocator_takes_effect_and_the_default_has_the_stock_one(word, tmp_path):
    names = ("allocator", "malloc", "thp")
    with bench(report_to(tmp_path), *names, pair=True) as made:
        result = made.measure({"intra_op": 1, "allocator": word})
    assert (result.outcome, result.error) == (Outcome.OK, "")
    told = [json.loads(path.read_text()) for path in tmp_path.iterdir()]
    (ours,) = (one for one in told if one["config"]["allocator"] == word)
    (default,) = (one for one in told if one["config"]["allocator"] == STOCK)
    assert default["mapped"] == []
    assert all(default[name] is None for name in SHOWN)
    assert ours["mapped"] == ([word] if word.endswith("malloc") else [])
    assert any(ours[name] is not None for name in SHOWN)


def test_a_variable_by_its_name_is_set_and_the_default_goes_without(tmp_path):
    with bench(report_to(tmp_path), "MALLOC_ARENA_MAX", pair=True) as made:
        result = made.measure({"MALLOC_ARENA_MAX": "2"})
    assert (result.outcome, result.error) == (Outcome.OK, "")
    told = [json.loads(path.read_text()) for path in tmp_path.iterdir()]
    assert {(one["MALLOC_ARENA_MAX"], len(one["config"])) for one in told} == {("2", 1), (None, 2)}


def test_what_tensorflow_reads_takes_effect_and_the_default_is_stock(tmp_path):
    names = ("onednn", "xla", "bfloat16")
    stock = {"intra_op": 1, **dict.fromkeys(names, STOCK)}
    with bench(products_in(tmp_path), *names, tensorflow=True, pair=True) as made:
        found = [
            made.measure({**stock, name: word})
            for name, word in [("onednn", "off"), ("onednn", "system-malloc"), ("xla", "on")]
        ]
        if offered(["bfloat16"]).words:
            found.append(made.measure({**stock, "bfloat16": "on"}))
    assert [(one.outcome, one.error) for one in found] == [(Outcome.OK, "")] * len(found)
    # A machine on which oneDNN is tuned is one machine.
    assert {one.machine.onednn for one in found} == {"tuned"}
    # The compile time is told, and is in no step.
    assert found[2].number("first_step_seconds") > 10 * found[2].seconds
    told = [json.loads(path.read_text()) for path in tmp_path.iterdir()]
    (default,) = [one for one in told if one["config"]["intra_op"] == 0]
    assert default["config"] == {**stock, "intra_op": 0, "inter_op": 0}
    assert [default[name] for name in ("malloc", "xla", "bfloat16")] == [None, None, False]
    assert all(one["onednn"] is (one["config"]["onednn"] != "off") for one in told)
    assert all(one["bfloat16"] is (one["config"]["bfloat16"] == "on") for one in told)


def test_a_knob_that_took_no_effect_fails_the_trial():
    def build(config):
        import tensorflow as tf

        if config["case"] == "removed":
            del os.environ["TF_XLA_FLAGS"]  # as a program may that has its own
        if config["case"] == "undone":
            name = "auto_mixed_precision_onednn_bfloat16"
            tf.config.optimizer.set_experimental_options({name: False})
        return lambda: time.sleep(0.002)

    cases = {"removed": "xla", "undone": "bfloat16"}
    if NAMES_ITS_THREADS:
        cases["idle"] = "xla"
    with bench(build, "xla", "bfloat16", tensorflow=True) as made:
        found = {
            case: made.measure({"xla": STOCK, "bfloat16": STOCK, "case": case, knob: "on"})
            for case, knob in cases.items()
        }
    assert {one.outcome for one in found.values()} == {Outcome.NO_EFFECT}
    if NAMES_ITS_THREADS:
        assert "XLA has compiled nothing of the first step" in found["idle"].error
    assert "is not in the environment" in found["removed"].error
    assert "as if nothing were rounded" in found["undone"].error


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1", "does not ask for huge pages"),
        ("TF_ENABLE_ONEDNN_OPTS", "0", "TensorFlow says that oneDNN is unknown"),
        ("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1", "oneDNN is unknown"),
        ("LD_PRELOAD", "libno-such.so.1", "is not mapped into the process"),
        ("MALLOC_ARENA_MAX", "few", "that is no number"),
        ("ANOTHER", "1", ""),
    ],
)
def test_what_was_set_too_late_is_seen_to_have_no_effect(name, value, said, monkeypatch):
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    monkeypatch.setenv(name, value)
    assert said in without_effect({name: value})
    assert bool(without_effect({name: value})) is bool(said)


@pytest.mark.parametrize(
    ("version", "said"), [("2.18.1", ""), ("2.20.0", ""), ("2.21.0", "XLA"), ("3.0.0-rc1", "XLA")]
)
def test_a_tensorflow_whose_threads_have_no_names_is_trusted_to_compile(version, said, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(__version__=version))
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_auto_jit=2")
    found = without_effect({"TF_XLA_FLAGS": "--tf_xla_auto_jit=2"})
    assert said in found
    assert bool(found) is bool(said)


@needs_jemalloc
@pytest.mark.parametrize("word", ["one-arena", "keep"])
def test_malloc_is_not_tuned_under_the_users_own_allocator(word, monkeypatch):
    monkeypatch.setenv("LD_PRELOAD", str(JEMALLOC))
    with bench(waiting, "malloc") as made:
        result = made.measure({"allocator": word})
    assert result.outcome is Outcome.NO_EFFECT
    assert "malloc is that of libjemalloc.so.2" in result.error


def test_malloc_that_does_not_do_as_it_was_told_is_seen():
    def build():
        import ctypes

        ctypes.CDLL(None).mallopt(-3, 1 << 20)  # M_MMAP_THRESHOLD
        return lambda: time.sleep(0.002)

    with bench(build, "malloc") as made:
        result = made.measure({"allocator": "keep"})
    assert result.outcome is Outcome.NO_EFFECT
    assert "malloc has mapped a large block by itself" in result.error


def test_arenas_that_are_too_many_are_seen():
    def build():
        import ctypes

        ctypes.CDLL(None).mallopt(-8, 64)  # M_ARENA_MAX
        return lambda: time.sleep(0.002)

    with bench(build, "malloc") as made:
        result = made.measure({"allocator": "one-arena"})
    assert result.outcome is Outcome.NO_EFFECT
    assert "arenas" in result.error


def test_a_preloaded_library_that_is_missing_or_none_fails_the_trial(tmp_path):
    (tmp_path / "none.so").write_text("no library")
    with bench(waiting, "LD_PRELOAD") as made:
        missing = made.measure({"LD_PRELOAD": "/no/such/library.so"})
        none = made.measure({"LD_PRELOAD": str(tmp_path / "none.so")})
        works = made.measure({"LD_PRELOAD": str(find_library("libm.so.6"))})
    assert missing.outcome is none.outcome is Outcome.NO_EFFECT
    assert "LD_PRELOAD names /no/such/library.so, which is not there" in missing.error
    assert "none.so is not mapped into the process" in none.error
    assert works.outcome is Outcome.OK


def test_an_entry_without_a_folder_is_looked_for_as_the_loader_does():
    assert missing_preload("libm.so.6 /etc/passwd") == ""
    assert missing_preload("libm.so.6:libno-such.so") == "libno-such.so"


def test_a_round_keeps_a_nest_for_each_of_its_environments():
    words = [{"MODE": word} for word in "abcde"]
    with bench(waiting, "MODE") as made:
        rounds = [made.measure_round([None, *words]) for _ in range(2)]
        assert len(made._nests) == 6
        made.measure(words[0])
        assert len(made._nests) == 3
    assert {one.outcome for found in rounds for one in found} == {Outcome.OK}


# --- a program ----------------------------------------------------------------------------------


def run(code, *configs, names=(), folder=None):
    runner = Runner(
        CommandOptions(argv=("/bin/sh", "-c", code), objective="last", knobs=names), folder
    )
    try:
        return runner.measure_round(configs)
    finally:
        runner.close()


@needs_jemalloc
def test_a_program_has_the_allocator_and_its_default_none():
    code = "echo ${LD_PRELOAD:+1}0; grep -c libjemalloc /proc/self/maps; true"
    ours, default = run(code, {"allocator": "jemalloc"}, None, names=("allocator",))
    assert ours.objective > 0
    assert "10" in "".join(ours.other_lines)
    assert default.objective == 0


def test_a_library_that_the_loader_passes_over_fails_the_run(tmp_path):
    (tmp_path / "none.so").write_text("no library")
    for path in ("/no/such/library.so", str(tmp_path / "none.so")):
        result, default = run("echo 5", {"LD_PRELOAD": path}, None)
        assert result.outcome is Outcome.NO_EFFECT
        assert path in result.error
        assert default.objective == 5


ONEDNN_ON, TALKS = "oneDNN custom operations are on.", "This TensorFlow binary is optimized"


@pytest.mark.parametrize(
    ("config", "log", "unchecked", "error"),
    [
        ({"onednn": "off"}, TALKS, (), ""),
        ({"onednn": "off"}, ONEDNN_ON, (), "log says 'oneDNN custom operations are on'"),
        ({"onednn": "off"}, "", ("TF_ENABLE_ONEDNN_OPTS",), ""),
        ({"onednn": "on"}, ONEDNN_ON, (), ""),
        ({"onednn": "on"}, TALKS, (), "log does not say 'oneDNN custom operations are on'"),
        ({"onednn": "on"}, "", ("TF_ENABLE_ONEDNN_OPTS",), ""),
        ({"onednn": "system-malloc"}, ONEDNN_ON, ("TF_ONEDNN_USE_SYSTEM_ALLOCATOR",), ""),
        ({"xla": "on"}, f"{TALKS} Compiled cluster using XLA!", (), ""),
        ({"xla": "on"}, TALKS, (), "TF_XLA_FLAGS=--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit: T"),
        ({"xla": "on"}, ONEDNN_ON, ("TF_XLA_FLAGS",), ""),
        ({"allocator": "one-arena"}, TALKS, ("MALLOC_ARENA_MAX",), ""),
        ({"TF_XLA_FLAGS": "--tf_xla_enable_lazy_compilation=false"}, TALKS, (), ""),
        ({"TF_XLA_FLAGS": "--tf_xla_auto_jit=0"}, TALKS, (), ""),
        ({"MODE": "a"}, "", (), ""),
    ],
)
def test_what_a_programs_output_says_of_its_knobs_is_read(config, log, unchecked, error):
    names = ("onednn", "xla", "malloc", "MODE", "TF_XLA_FLAGS")
    names = [name for name in names if name != "TF_XLA_FLAGS" or name in config]
    result, default = run(f"echo '{log}' >&2; echo 5", config, None, names=names)
    assert result.outcome is (Outcome.NO_EFFECT if error else Outcome.OK)
    assert error in result.error
    assert result.unchecked == Result.of(result.report()).unchecked == unchecked
    assert (default.objective, default.unchecked) == (5, ())


def test_a_log_that_is_cut_shows_nothing():
    code = f"head -c {KEPT} /dev/zero | tr '\\0' '\\n' >&2; echo '{TALKS}' >&2; echo 5"
    (result,) = run(code, {"xla": "on"}, names=("xla",))
    assert (result.outcome, result.unchecked) == (Outcome.OK, ("TF_XLA_FLAGS",))


def test_what_tensorflow_itself_says_in_a_program_is_read(tmp_path):
    (tmp_path / "program.py").write_text("""
import os, sys
if "MODE" in os.environ:
    del os.environ["TF_XLA_FLAGS"]
import tensorflow as tf
weights = tf.random.uniform((64, 64))

@tf.function
def step():
    found = weights
    for _ in range(4):
        found = tf.tanh(found @ weights) * 2.0 + tf.exp(-found)
    return found

step(), step()
print(5)
""")
    both = {"xla": "on", "onednn": "off"}
    works, removed = run(
        f"exec {sys.executable} program.py",
        *(both, {**both, "MODE": "own"}),
        names=("xla", "onednn", "MODE"),
        folder=str(tmp_path),
    )
    assert (works.outcome, works.error, works.unchecked) == (Outcome.OK, "", ())
    assert removed.outcome is Outcome.NO_EFFECT
    assert "log does not say 'Compiled cluster using XLA'" in removed.error


def test_what_nothing_shows_in_a_script_is_told(tmp_path):
    (tmp_path / "script.py").write_text("""
from kamerton_ray import kamerton
for attempt in kamerton(vertex=[1, 1]):
    print(5)
""")
    runner = ScriptRunner(
        Script(path=str(tmp_path / "script.py")),
        names=("intra_op", "inter_op"),
        timeout_s=60,
        knobs=("malloc",),
    )
    try:
        found = runner.measure({"intra_op": 1, "inter_op": 1, "allocator": "one-arena"})
    finally:
        runner.close()
    assert (found.objective, found.error) == (5, "")
    assert found.unchecked == found.report()["unchecked"] == ("MALLOC_ARENA_MAX",)


def test_a_word_that_is_not_on_this_node_fails_the_run(monkeypatch):
    monkeypatch.setattr(records, "find_library", lambda _: None)
    (result,) = run("echo 5", {"allocator": "jemalloc"}, names=("allocator",))
    assert result.outcome is Outcome.NO_EFFECT
    assert "no libjemalloc.so.2 is where the loader looks" in result.error


# --- the answer ---------------------------------------------------------------------------------


def test_stock_with_the_defaults_threads_is_the_default_and_any_other_word_is_not():
    counts = {"intra_op": 2, "inter_op": 2}
    assert _is_default({**counts, "allocator": STOCK, "xla": STOCK}, counts, set())
    assert not _is_default({**counts, "allocator": "jemalloc"}, counts, {"allocator"})
    assert not _is_default({**counts, "mode": STOCK}, counts, set())


def test_an_export_sets_what_the_words_mean():
    config = {"intra_op": 1, "inter_op": 2, "allocator": "jemalloc", "onednn": "off", "xla": STOCK}
    assert exported(config) == {"LD_PRELOAD": "libjemalloc.so.2", "TF_ENABLE_ONEDNN_OPTS": "0"}
    assert "LD_PRELOAD=libjemalloc.so.2" in export(config, "env")
    python = export(config, "python").splitlines()
    assert python[0] == "# Before Python starts: LD_PRELOAD=libjemalloc.so.2"
    assert "os.environ['TF_ENABLE_ONEDNN_OPTS'] = '0'" in python
    told = export({**config, "bfloat16": "on"}, "dotenv")
    assert "KAMERTON_RAY" not in told
    assert "# To be called in the program: tf.config.optimizer" in told


def test_a_sentence_leaves_out_what_is_stock():
    config = {"instances": 2, "intra_op": 1, "allocator": "jemalloc", "xla": STOCK}
    assert in_words(config) == "2 instances of intra_op=1 allocator=jemalloc"
    assert in_words({"xla": STOCK}) == STOCK
    assert in_words({"mode": STOCK}) == "mode=stock"
    assert in_words({}) == ""


def test_every_knob_says_where_it_binds_and_has_a_word():
    assert all(knob.words for knob in KNOBS.values())
    assert all(word.binds.value for knob in KNOBS.values() for word in knob.words.values())
    words = [(knob.parameter, word) for knob in KNOBS.values() for word in knob.words]
    assert len(set(words)) == len(words)
    assert not any(word == STOCK for _, word in words)
