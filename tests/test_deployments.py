"""Exports that start instances; what can be executed is executed, and the rest is parsed."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from kamerton_ray import InvalidInputError
from kamerton_ray.report.exports import FORMS, export
from kamerton_ray.report.setting import Setting
from kamerton_ray.trial.config import INSTANCE, INSTANCES, environment

MANY = {"instances": 7, "intra_op": 1, "inter_op": 1}
TWO = {"instances": 2, "intra_op": 1, "inter_op": 3, "NAME": "a 'b' $c % \"d\" \\"}
PINNED = {**TWO, "pinned": 1}
TELL = f"""
import json, os
told = {{name: os.environ[name] for name in ("{INSTANCE}", "{INSTANCES}", "NAME")}}
print(json.dumps({{**told, "cpus": sorted(os.sched_getaffinity(0))}}) + "\\n", end="", flush=True)
"""
WAIT = "import pathlib, sys, os, time; pathlib.Path(str(os.getpid())).touch(); time.sleep(300)"
PARSED = {"compose", "k8s", "serve"}


@pytest.mark.parametrize("form", sorted(FORMS))
def test_no_form_drops_the_instances(form):
    assert re.search(r"\b7\b", export(MANY, form))


@pytest.mark.parametrize("form", sorted(set(FORMS) - {"json", "python"}))
def test_a_form_that_cannot_pin_says_so(form):
    assert ("CPUs of its own" in export({**MANY, "pinned": 1}, form)) or form == "shell"
    assert "of its own" not in export(MANY, form)
    assert "of its own" not in export({**MANY, "pinned": 1, "instances": 1}, form)


@pytest.mark.parametrize("form", sorted(FORMS))
def test_one_instance_is_the_same_as_none_said(form):
    counts = {"intra_op": 3, "inter_op": 1}
    if form != "json":
        assert export({**counts, "instances": 1}, form) == export(counts, form)


@pytest.mark.parametrize("count", [0, -1, 1.5, "2", True])
def test_a_number_of_instances_is_an_integer_from_1(count):
    with pytest.raises(InvalidInputError, match="instances must be an integer from 1"):
        export({**MANY, "instances": count}, "serve")


@pytest.mark.parametrize(
    ("instances", "intra_op", "cpus", "request_"),
    [
        (2, 1, None, 1),
        (2, 0, None, 1),
        (2, 3, 8, 3),
        (4, 2, 8, 2),
        (4, 3, 8, 2),
        (3, 2, 4, 1.333),
        (3, 1, 2, 0.666),
        (1, 0, 8, 8),
        (2, 0, 8, 4),
    ],
)
def test_an_instance_asks_for_its_threads_or_its_share(instances, intra_op, cpus, request_):
    config = {"instances": instances, "intra_op": intra_op}
    assert Setting.of(config, cpus=cpus).request == request_


# --- a shell -------------------------------------------------------------------------------------


def script(config, folder):
    path = folder / "instances.sh"
    path.write_text(export(config, "shell"))
    return ["sh", str(path)]


def told(config, folder):
    run = [*script(config, folder), sys.executable, "-c", TELL]
    done = subprocess.run(run, cwd=folder, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return sorted(map(json.loads, done.stdout.splitlines()), key=lambda one: one[INSTANCE])


def test_the_script_starts_each_instance_with_its_number(tmp_path):
    cpus = sorted(os.sched_getaffinity(0))
    common = {INSTANCES: "2", "NAME": TWO["NAME"], "cpus": cpus}
    assert told(TWO, tmp_path) == [{INSTANCE: str(place), **common} for place in range(2)]


def test_the_script_gives_each_instance_an_equal_share_of_the_cpus(tmp_path):
    cpus = sorted(os.sched_getaffinity(0))
    share = len(cpus) // 2
    shares = [cpus[:share], cpus[share : 2 * share]] if share else [cpus, cpus]
    assert [one["cpus"] for one in told(PINNED, tmp_path)] == shares
    more = {**PINNED, "instances": len(cpus) + 1}
    assert all(one["cpus"] == cpus for one in told(more, tmp_path))


def test_the_script_of_one_instance_becomes_the_program(tmp_path):
    code = "import os; print(os.getpid(), os.environ['TF_NUM_INTRAOP_THREADS'])"
    run = [*script({"intra_op": 3}, tmp_path), sys.executable, "-c", code]
    with subprocess.Popen(run, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.read() == f"{process.pid} 3\n"


@pytest.mark.parametrize("place", [0, 1])
def test_the_script_ends_as_an_instance_that_fails(place, tmp_path):
    code = f"import os, sys; sys.exit(3 * (os.environ['{INSTANCE}'] == '{place}'))"
    run = [*script(TWO, tmp_path), sys.executable, "-c", code]
    assert subprocess.run(run, check=False).returncode == 3


def started(folder):
    """The ids of the two instances, once they run."""
    while len(found := [int(path.name) for path in folder.iterdir() if path.name.isdigit()]) < 2:
        time.sleep(0.02)
    return found


@pytest.mark.parametrize("everyone", [True, False], ids=["Ctrl-C", "SIGTERM"])
def test_nothing_is_left_of_a_script_that_is_ended(everyone, tmp_path):
    run = [*script(TWO, tmp_path), sys.executable, "-c", WAIT]
    with subprocess.Popen(run, cwd=tmp_path, start_new_session=True) as process:
        instances = [psutil.Process(pid) for pid in started(tmp_path)]
        if everyone:  # as a terminal does
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.terminate()
        assert process.wait(60) != 0
    left = [one for one in instances if one.is_running()]
    for one in left:
        one.kill()
    assert left == []


# --- containers, and Ray Serve -------------------------------------------------------------------


@pytest.mark.parametrize("form", sorted(PARSED))
@pytest.mark.parametrize("config", [TWO, PINNED, {"instances": 2}, {"intra_op": 3}])
def test_yaml_is_read_as_what_its_reader_knows(config, form):
    known = {
        "compose": {
            *("services", "model", "environment", "deploy", "replicas", "resources"),
            *("reservations", "cpus"),
        },
        "k8s": {
            *("spec", "replicas", "template", "containers", "name", "env", "value", "resources"),
            *("requests", "cpu"),
        },
        "serve": {
            *("applications", "name", "import_path", "deployments", "num_replicas"),
            *("ray_actor_options", "num_cpus", "runtime_env", "env_vars"),
        },
    }
    if config == {"intra_op": 3} and form == "k8s":
        assert export(config, form).startswith("env:\n")
    assert keys(yaml.safe_load(export(config, form))) <= known[form] | set(environment(config))


def keys(tree):
    if isinstance(tree, dict):
        return set(tree).union(*map(keys, tree.values()))
    return set().union(*map(keys, tree)) if isinstance(tree, list) else set()


def test_kubernetes_gets_replicas_that_ask_for_cpus():
    spec = yaml.safe_load(export(TWO, "k8s"))["spec"]
    assert spec["replicas"] == 2
    [container] = spec["template"]["spec"]["containers"]
    assert container["resources"] == {"requests": {"cpu": "1"}}
    assert {one["name"]: one["value"] for one in container["env"]} == environment(TWO)


def test_compose_gets_replicas_and_keeps_dollars():
    model = yaml.safe_load(export(TWO, "compose"))["services"]["model"]
    assert model["deploy"] == {"replicas": 2, "resources": {"reservations": {"cpus": "1"}}}
    told = {name: value.replace("$$", "$") for name, value in model["environment"].items()}
    assert told == environment(TWO)
    assert "$$c" in model["environment"]["NAME"]


def test_ray_serve_takes_its_file():
    schema = pytest.importorskip("ray.serve.schema", reason="needs ray[serve]")
    found = schema.ServeDeploySchema(**yaml.safe_load(export(TWO, "serve", cpus=1)))
    [deployment] = found.applications[0].deployments
    assert deployment.num_replicas == 2
    assert deployment.ray_actor_options.num_cpus == 0.5
    assert deployment.ray_actor_options.runtime_env == {"env_vars": environment(TWO)}


# --- systemd -------------------------------------------------------------------------------------


def test_systemd_takes_the_unit(tmp_path):
    unit = tmp_path / "model@.service"
    unit.write_text(export(PINNED, "systemd"))
    try:
        done = subprocess.run(
            ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:  # the next tests read it, too
        return
    assert (done.returncode, done.stderr) == (0, "")


def test_a_unit_has_the_variables_and_its_number():
    lines = export(TWO, "systemd").splitlines()
    quoted = [line.removeprefix("Environment=") for line in lines if "Environment=" in line]
    told = dict(json.loads(one).split("=", 1) for one in quoted)
    expected = {**environment(TWO), INSTANCE: "%i", INSTANCES: "2"}
    assert {name: value.replace("%%", "%") for name, value in told.items()} == expected
    assert "%% " in told["NAME"]


@pytest.mark.parametrize(("intra_op", "cpus"), [(1, 4), (2, 5), (2, None)])
def test_the_commands_for_pinned_units_write_what_systemd_reads(intra_op, cpus, tmp_path):
    text = export({**PINNED, "intra_op": intra_op}, "systemd", cpus=cpus)
    loop = re.search(r"#   for i .*?#   done\n", text, re.DOTALL)[0].replace("#   ", "")
    loop = loop.replace("/etc/systemd/system", str(tmp_path))
    subprocess.run(["bash", "-c", loop], check=True)
    found = sorted(tmp_path.glob("model@*.service.d/cpus.conf"))
    assert [path.read_text() for path in found] == [
        "[Service]\nCPUAffinity=0-1\n",
        "[Service]\nCPUAffinity=2-3\n",
    ]


def test_units_that_are_more_than_the_cpus_are_not_pinned():
    assert "CPUAffinity" not in export(PINNED, "systemd", cpus=1)


# --- Triton --------------------------------------------------------------------------------------


def triton_config():
    """The part of Triton's model_config.proto that an export uses."""
    kinds, field = descriptor_pb2.FieldDescriptorProto, {}
    for kind in ("INT32", "STRING", "ENUM", "MESSAGE"):
        field[kind] = getattr(kinds, f"TYPE_{kind}")
    file = descriptor_pb2.FileDescriptorProto(name="config.proto", package="t", syntax="proto3")
    file.enum_type.add(name="Kind").value.add(name="KIND_AUTO", number=0)
    file.enum_type[0].value.add(name="KIND_CPU", number=2)
    group = file.message_type.add(name="Group")
    group.field.add(name="count", number=2, type=field["INT32"], label=1)
    group.field.add(name="kind", number=4, type=field["ENUM"], type_name=".t.Kind", label=1)
    value = file.message_type.add(name="Value")
    value.field.add(name="string_value", number=1, type=field["STRING"], label=1)
    config = file.message_type.add(name="Config")
    entry = config.nested_type.add(name="ParametersEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=field["STRING"], label=1)
    entry.field.add(name="value", number=2, type=field["MESSAGE"], type_name=".t.Value", label=1)
    for name, number, kind in (("instance_group", 7, "Group"), ("parameters", 14, 0)):
        of = f".t.{kind}" if kind else ".t.Config.ParametersEntry"
        config.field.add(name=name, number=number, type=field["MESSAGE"], type_name=of, label=3)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Config"))()


def test_triton_takes_its_part_of_the_configuration():
    config = text_format.Parse(export(PINNED, "triton"), triton_config())
    assert [(one.count, one.kind) for one in config.instance_group] == [(2, 2)]
    assert {name: one.string_value for name, one in config.parameters.items()} == {
        "TF_NUM_INTRA_THREADS": "1",
        "TF_NUM_INTER_THREADS": "3",
        "TF_USE_PER_SESSION_THREADS": "1",
    }


def test_triton_says_what_its_instances_share():
    assert "share" not in export(TWO, "triton")
    assert "share their intra-op threads" in export({**TWO, "intra_op": 2}, "triton")
