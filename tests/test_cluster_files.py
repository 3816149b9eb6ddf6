"""The examples in cluster/, as far as they can be checked without a cloud."""

import re
import shlex
from pathlib import Path

import click
import kubernetes_validate
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from kamerton_ray import __version__
from kamerton_ray.cli.commands import main
from kamerton_ray.report.exports import export

FOLDER = Path(__file__).parent.parent / "cluster"
KUBERNETES = "1.32"
TUNED = {"instances": 2, "intra_op": 1, "inter_op": 3, "allocator": "tcmalloc"}


def read(name):
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


def understood(command):
    """Whether the command line takes these words; nothing runs."""
    name, *arguments = shlex.split(command)[1:]
    with click.Context(main) as context:
        main.commands[name].make_context(name, arguments, parent=context)
    return True


def test_ray_takes_the_cluster_of_virtual_machines():
    config = read("aws.yaml")
    validate_config(prepare_config({**config, "cluster_synced_files": []}))
    head = config["available_node_types"][config["head_node_type"]]
    assert head["resources"] == {"CPU": 0}
    workers = [one for one in config["available_node_types"].values() if one is not head]
    assert [one["min_workers"] for one in workers] == [config["max_workers"]]
    with pytest.raises(Exception, match="no_such_key"):
        validate_config({**prepare_config(config), "no_such_key": 1})


def test_the_job_on_kubernetes_gives_every_trial_a_machine_for_itself():
    job = read("rayjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert understood(job["spec"]["entrypoint"])
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (group,) = cluster["workerGroupSpecs"]
    assert group["replicas"] == group["minReplicas"] == group["maxReplicas"]
    pod = group["template"]
    (rule,) = pod["spec"]["affinity"]["podAntiAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]
    assert rule["topologyKey"] == "kubernetes.io/hostname"
    assert rule["labelSelector"]["matchLabels"] == pod["metadata"]["labels"]
    (container,) = pod["spec"]["containers"]
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert container["resources"]["limits"]["cpu"].isdigit()
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["spec"]["volumes"]}


def test_the_job_on_one_node_needs_no_rights_and_writes_to_its_volumes_alone():
    job = read("job.yaml")
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    pod = job["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    (container,) = pod["containers"]
    assert understood(shlex.join(["kamerton-ray", *container["args"]]))
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert container["resources"]["limits"]["cpu"].isdigit()
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounted = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert set(mounted) == {volume["name"] for volume in pod["volumes"]}
    written = {name for name, mount in mounted.items() if not mount.get("readOnly")}
    assert written == {"tmp", "shm"}
    (storage,) = [word for word in container["args"] if word.startswith("--storage=")]
    assert storage.startswith(f"--storage={mounted['tmp']['mountPath']}/")


def pods(tree):
    """The pods that a manifest starts, wherever in it they stand."""
    if isinstance(tree, list):
        return [pod for part in tree for pod in pods(part)]
    if not isinstance(tree, dict):
        return []
    own = [tree["template"]] if "template" in tree else []
    return own + [pod for part in tree.values() for pod in pods(part)]


def check_with_kubernetes(manifest):
    kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


@pytest.mark.parametrize("name", ["job.yaml", "rayjob.yaml"])
def test_kubernetes_takes_the_pods(name):
    found = pods(read(name))
    assert found
    for pod in found:
        check_with_kubernetes({"apiVersion": "v1", "kind": "Pod", **pod})


def test_kubernetes_takes_the_job():
    job = read("job.yaml")
    check_with_kubernetes(job)
    job["spec"]["template"]["spec"]["containers"][0]["limits"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="limits"):
        check_with_kubernetes(job)


def test_kubernetes_takes_a_deployment_with_what_is_exported():
    labels = {"matchLabels": {"app": "model"}}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "model"}}
    deployment.update(yaml.safe_load(export(TUNED, "k8s", cpus=2)))
    deployment["spec"]["selector"] = labels
    deployment["spec"]["template"]["metadata"] = {"labels": labels["matchLabels"]}
    check_with_kubernetes(deployment)


def test_the_images_are_of_this_version():
    text = (FOLDER / "job.yaml").read_text() + (FOLDER / "rayjob.yaml").read_text()
    assert set(re.findall(r"kamerton-ray:([\d.]+\d)", text)) == {__version__}


def test_the_image_is_for_a_user_without_rights():
    lines = (FOLDER / "Dockerfile").read_text(encoding="utf-8").splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    assert steps[0][0] == "FROM"
    users = [words for word, words in steps if word == "USER"]
    assert users == ["tuner"]
    after = steps[steps.index(["USER", "tuner"]) :]
    assert not any(word in {"RUN", "COPY"} for word, _ in after)
    assert steps[-1] == ["ENTRYPOINT", '["kamerton-ray"]']
