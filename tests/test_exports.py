"""The answer in the form in which it is put to use; what can be executed is executed."""

import json
import subprocess
import sys

import numpy as np
import pytest
import yaml

from kamerton_ray import InvalidInputError, Threading
from kamerton_ray.report.exports import FORMS, export
from kamerton_ray.trial.config import environment

CONFIG = {"intra_op": 3, "inter_op": 1, "OMP_NUM_THREADS": 2, "batch": 32}
VARIABLES = {
    "TF_NUM_INTRAOP_THREADS": "3",
    "TF_NUM_INTEROP_THREADS": "1",
    "OMP_NUM_THREADS": "2",
}


def test_the_environment_holds_the_counts_and_the_variables_alone():
    assert environment(CONFIG) == VARIABLES
    assert environment({"KNOB": "a b"}) == {"KNOB": "a b"}
    assert environment({"batch": 32}) == {}


@pytest.mark.parametrize("form", ["env", "dotenv"])
def test_a_shell_that_reads_it_has_the_variables(form, tmp_path):
    (tmp_path / "answer").write_text(export({**CONFIG, "NAME": "a 'b' $c"}, form))
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    done = subprocess.run(
        ["sh", "-c", f"set -a; . ./answer; exec {sys.executable} -c '{code}'"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    expected = {**VARIABLES, "NAME": "a 'b' $c"}.items()
    assert expected <= json.loads(done.stdout).items()


def test_docker_gets_options():
    assert export({"intra_op": 3, "inter_op": 1}, "docker") == (
        "--env TF_NUM_INTRAOP_THREADS=3 --env TF_NUM_INTEROP_THREADS=1\n"
    )


def test_kubernetes_gets_strings():
    found = yaml.safe_load(export(CONFIG, "k8s"))
    assert found == {"env": [{"name": name, "value": v} for name, v in VARIABLES.items()]}


def test_tensorflow_serving_gets_options():
    assert export(CONFIG, "tf-serving") == (
        "# Set in the server's environment: OMP_NUM_THREADS=2\n"
        "--tensorflow_intra_op_parallelism=3 --tensorflow_inter_op_parallelism=1\n"
    )


def test_the_python_lines_set_the_counts(in_tensorflow):
    code = export(CONFIG, "python") + (
        "import os\n"
        "threads = tf.config.threading\n"
        "print(threads.get_intra_op_parallelism_threads(),\n"
        "      threads.get_inter_op_parallelism_threads(), os.environ['OMP_NUM_THREADS'])\n"
    )
    assert in_tensorflow(code) == ["3 1 2"]


def test_json_is_the_configuration():
    assert json.loads(export(CONFIG, "json")) == CONFIG
    numpys = {"intra_op": np.int64(3), "rate": np.float32(0.5), "nested": {"x": np.int64(1)}}
    assert json.loads(export(numpys, "json")) == {"intra_op": 3, "rate": 0.5, "nested": {"x": 1}}


def test_numpys_counts_are_written_as_numbers():
    numpys = {name: np.int64(value) for name, value in CONFIG.items()}
    for form in FORMS:
        assert export(numpys, form) == export(CONFIG, form)


def test_one_count_alone_leaves_the_other_to_tensorflow():
    assert Threading.of({"intra_op": 3}).inter_op == 0
    assert "TF_NUM_INTEROP_THREADS=0" in export({"intra_op": 3}, "env")


@pytest.mark.parametrize("form", sorted(set(FORMS) - {"json"}))
def test_what_a_form_cannot_say_is_an_error(form):
    with pytest.raises(InvalidInputError, match="cannot say"):
        export({"batch": 32}, form)


def test_an_unknown_form_is_an_error():
    with pytest.raises(InvalidInputError, match="must be one of"):
        export(CONFIG, "xml")
