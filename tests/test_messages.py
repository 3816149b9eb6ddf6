"""Messages: what is sent is read again, and what is none is refused."""

import json

import pytest

from kamerton_ray.process.messages import (
    Built,
    Ended,
    Failed,
    Forked,
    Inside,
    LookInside,
    StartCommand,
    StepSeconds,
    from_json,
)
from kamerton_ray.process.outcome import Outcome
from kamerton_ray.trial.loop_messages import Describe, RunBody, Search


@pytest.mark.parametrize(
    "message",
    [
        Ended(7, -9, 2, 4096, 1.5),
        Built({"cpu_model": "any", "usable_cpus": 2}),
        StepSeconds(12.5, [0.5, 0.25], 1, cpu_s=1.0, system_s=0.25, faults=7),
        Inside(3, 0.5, 0.25, 0.125, 0.0, 0.0, "predict"),
        LookInside(3),
        StartCommand(["sh", "-c", "true"], {"A": "\udc80"}, None),
        StartCommand(["sh"], {}, "/", reports=True),
        Search([[1, 8], [1, 4]], [[2, 2]], None, 1, 60.0),
        Describe(),
        RunBody([2, 1]),
    ],
)
def test_a_message_is_read_as_it_was_sent(message):
    assert from_json(message.to_json(), Forked, type(message)) == message


@pytest.mark.parametrize(
    "fields",
    [
        {"began": 0.5, "each": 1, "seconds": [0.5]},
        {
            "began": 0.5,
            "each": 1,
            "seconds": [0.5],
            "cpu_s": 1.0,
            "system_s": 0.0,
            "faults": 0,
            "more": 1,
        },
        {
            "began": 0.5,
            "each": 1,
            "seconds": [0.5, "0.5"],
            "cpu_s": 1.0,
            "system_s": 0.0,
            "faults": 0,
        },
        {"began": 0.5, "each": 1, "seconds": 0.5, "cpu_s": 1.0, "system_s": 0.0, "faults": 0},
        {"began": 0.5, "each": 1, "seconds": [], "cpu_s": None, "system_s": 0.0, "faults": 0},
        [],
    ],
)
def test_fields_that_a_message_does_not_have_are_refused(fields):
    with pytest.raises(ValueError, match="StepSeconds"):
        from_json(json.dumps({"StepSeconds": fields}), StepSeconds, Failed)


@pytest.mark.parametrize(
    "text", ["", "7", "[]", "{}", '{"Kill": {"pid": 1}}', "[" * 9999, '{"Failed": {}, "Ended": {}}']
)
def test_what_is_no_message_is_refused(text):
    with pytest.raises(ValueError, match=r"^'"):
        from_json(text, Ended, Failed)


@pytest.mark.parametrize("said", ["OK", "SERVER_LOST", "TIMEOUT", "rubbish", ""])
def test_an_attempt_cannot_claim_what_is_seen_from_outside_alone(said):
    assert Failed(said, "").how() is Outcome.MALFORMED
    assert Failed("STEP_RAISED", "").how() is Outcome.STEP_RAISED


def test_an_exception_that_says_that_memory_is_short_has_an_outcome_of_its_own():
    class ResourceExhaustedError(Exception):  # as TensorFlow's
        pass

    for error in MemoryError(), ResourceExhaustedError("all of it"):
        assert Failed.by(error, Outcome.STEP_RAISED).how() is Outcome.OUT_OF_MEMORY
    assert "ValueError: no" in Failed.by(ValueError("no"), Outcome.BODY_RAISED).detail
