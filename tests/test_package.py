import importlib.metadata
import importlib.resources
import json
import subprocess
import sys

import pytest

import kamerton_ray

WATCHED_IMPORT = """
import json, logging, os, sys
environment, handlers = dict(os.environ), list(logging.getLogger().handlers)
import kamerton_ray
print(json.dumps({
    "heavy": sorted({"tensorflow", "ray", "keras", "hypothesis", "pytest"} & set(sys.modules)),
    "environment": dict(os.environ) == environment,
    "root handlers": logging.getLogger().handlers == handlers,
    "own handlers": [
        name for name, logger in logging.root.manager.loggerDict.items()
        if name.startswith("kamerton_ray") and getattr(logger, "handlers", [])
    ],
}))
"""


def test_importing_has_no_side_effects():
    printed = subprocess.run(
        [sys.executable, "-c", WATCHED_IMPORT], capture_output=True, text=True, check=True
    )
    assert not printed.stderr
    assert json.loads(printed.stdout) == {
        "heavy": [],
        "environment": True,
        "root handlers": True,
        "own handlers": [],
    }


@pytest.mark.parametrize("name", kamerton_ray.__all__)
def test_every_public_name_resolves(name):
    assert getattr(kamerton_ray, name).__name__ == name


def test_no_public_name_is_listed_twice():
    assert len(set(kamerton_ray.__all__)) == len(kamerton_ray.__all__)


def test_every_error_is_a_kamerton_error():
    errors = [getattr(kamerton_ray, name) for name in kamerton_ray.__all__ if "Error" in name]
    assert len(errors) >= 5
    assert all(issubclass(error, kamerton_ray.KamertonError) for error in errors)


def test_an_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'kamerton_ray' has no attribute 'Gradient'"):
        kamerton_ray.Gradient  # noqa: B018


def test_the_version_is_the_installed_one():
    assert kamerton_ray.__version__ == importlib.metadata.version("kamerton_ray")


def test_type_information_is_shipped():
    assert importlib.resources.files("kamerton_ray").joinpath("py.typed").is_file()
