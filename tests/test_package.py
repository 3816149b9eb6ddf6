import importlib.metadata
import importlib.resources
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import kamerton_ray

ROOT = Path(__file__).parent.parent

WATCHED_IMPORT = """
import json, logging, os, sys
environment, handlers = dict(os.environ), list(logging.getLogger().handlers)
import kamerton_ray
print(json.dumps({
    "heavy": sorted(
        {"tensorflow", "ray", "keras", "numpy", "psutil", "hypothesis", "pytest"} & set(sys.modules)
    ),
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


def test_a_name_is_the_same_whatever_was_imported_before():
    """A folder of the package is called `report`, as the function is."""
    first = "import kamerton_ray, kamerton_ray.report.tables"
    show = "print(kamerton_ray.report.__name__, callable(kamerton_ray.report))"
    done = subprocess.run(
        [sys.executable, "-c", f"{first}; {show}; {show}; from kamerton_ray import *; {show}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["report True"] * 3


def test_every_public_name_is_listed_for_who_looks_around():
    assert {*kamerton_ray.__all__, "plot"} <= set(dir(kamerton_ray))


def test_what_starts_attempts_imports_little():
    nests = "kamerton_ray.process.in_command_nest, kamerton_ray.process.in_model_nest"
    code = f"import sys, {nests}; print({{'numpy', 'psutil'}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


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


# --- what is built --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """A folder with both packages; the wheel is built from the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    return folder


def test_the_wheel_holds_the_package_and_nothing_else(dist):
    with zipfile.ZipFile(only(dist, "*.whl")) as wheel:
        names = set(wheel.namelist())
    info = f"kamerton_ray-{kamerton_ray.__version__}.dist-info"
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "kamerton_ray").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"kamerton_ray/py.typed", "kamerton_ray/report/report.html.j2"} < package
    rest = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
    assert names == package | {f"{info}/{name}" for name in rest}


def test_the_source_distribution_holds_all_that_is_needed_to_work_on_it(dist):
    with tarfile.open(only(dist, "*.tar.gz")) as source:
        names = {name.partition("/")[2] for name in source.getnames()}
    git = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    kept = [name for name in git.stdout.splitlines() if not name.startswith(".")]
    assert {*kept, "pyproject.toml", "Makefile", "LICENSE", "tests/lowest.txt"} <= names
    assert not [name for name in names if re.search(r"__pycache__|\.venv|\.github|\.ci/", name)]


@pytest.mark.docs
def test_the_wheel_works_in_an_environment_of_its_own(dist, tmp_path):
    """In one without this checkout; what it depends on is that of the tests."""
    home, folder = tmp_path / "env", tmp_path / "folder"
    folder.mkdir()
    venv.create(home, symlinks=True)
    site = home / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    env = {**os.environ, "PYTHONPATH": ""}
    env.pop("RAY_ADDRESS", None)

    def run(*command):
        done = subprocess.run(
            command, cwd=folder, env=env, capture_output=True, text=True, timeout=200, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    python, program = str(home / "bin" / "python"), str(home / "bin" / "kamerton-ray")
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index")
    run(*pip, str(only(dist, "*.whl")))
    where = "import kamerton_ray as k; print(k.__file__, k.__version__)"
    assert run(python, "-c", where).split() == [
        str(site / "kamerton_ray" / "__init__.py"),
        kamerton_ray.__version__,
    ]
    assert run(program, "--version").split()[-1] == kamerton_ray.__version__
    assert "usable" in run(program, "doctor")
    search = ("exec", "--shared", "--trials", "1", "--no-compare", "--objective", "last")
    assert re.search(r"intra_op=\d", run(program, *search, "--", "sh", "-c", "echo 5"))


def only(folder, pattern):
    (found,) = folder.glob(pattern)
    return found


# --- what is said of it ---------------------------------------------------------------------------


def test_the_changelog_and_the_citation_are_of_this_version():
    changes, cited = ((ROOT / name).read_text() for name in ("CHANGELOG.md", "CITATION.cff"))
    newest = re.search(r"^## \[(\d.*)\] - (\d{4}-\d\d-\d\d)$", changes, re.MULTILINE).groups()
    found = re.search(r"^version: (.*)\ndate-released: (.*)$", cited, re.MULTILINE).groups()
    assert newest == found
    assert newest[0] == kamerton_ray.__version__


def test_a_workflow_runs_only_actions_whose_content_is_known():
    workflows = (ROOT / ".github" / "workflows").glob("*.yml")
    uses = [use for path in workflows for use in re.findall(r"uses: *(.*)", path.read_text())]
    assert len(uses) > 5
    for use in uses:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use)
