"""What a session says of the commands that have worked on it."""

import json
import math
import platform
import time

import psutil
import pytest

from kamerton_ray import InvalidInputError
from kamerton_ray.tune.folders import DESCRIPTION
from kamerton_ray.tune.session import Session
from kamerton_ray.tune.work import Work


def test_work_is_written_down_when_it_begins_and_when_it_ends(tmp_path):
    session = Session.create(tmp_path, "tune", {"target": "model.py:build"})
    session.begin(Work.now("kamerton-ray tune model.py:build"))
    (begun,) = Session.open(session.folder).work()
    assert begun.command == "kamerton-ray tune model.py:build"
    assert begun.began == pytest.approx(psutil.Process().create_time())
    assert begun.python == platform.python_version()
    assert platform.release() in begun.system
    assert begun.ray
    assert begun.load >= 0
    assert math.isnan(begun.seconds)
    session.begin(Work.now("kamerton-ray tune --resume"))
    session.end()
    first, second = session.work()
    assert math.isnan(first.seconds)
    assert 0 < second.seconds <= time.time() - second.began
    assert second.load_after >= 0
    assert session.description()["target"] == "model.py:build"


def test_what_is_unknown_is_not_written_and_comes_back_as_unknown(tmp_path):
    session = Session.create(tmp_path, "tune", {})
    assert session.work() == []
    session.begin(Work(command="kamerton-ray tune", load=0.0))
    text = (session.folder / DESCRIPTION).read_text()
    assert json.loads(text, parse_constant=pytest.fail)["work"] == [
        {"command": "kamerton-ray tune", "load": 0.0}
    ]
    (work,) = session.work()
    assert (work.system, work.load) == ("", 0.0)
    assert math.isnan(work.began)


@pytest.mark.parametrize(
    "work",
    ["a command", ["a command"], [{"command": 3}], [{"seconds": "long"}], [{"began": 1e300}]],
)
def test_what_is_no_work_is_named(tmp_path, work):
    session = Session.create(tmp_path, "tune", {"work": work})
    with pytest.raises(InvalidInputError, match=r"session\.json, \$\.work"):
        session.work()
