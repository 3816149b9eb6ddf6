"""Which nodes trials are placed on, by whichever Ray is installed."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

from ray.util import placement_group

PLACED = Path(__file__).parent / "scripts" / "placed.py"
ALONE = "This Ray cannot keep trials off single nodes"


def test_trials_run_on_one_kind_of_node_each_on_a_node_of_its_own():
    done = subprocess.run([sys.executable, PLACED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    small = ["127.0.0.2", "127.0.0.3"]
    # Before 2.47 Ray knows no labels: one node runs all trials, and it is said.
    if knows_labels := "bundle_label_selector" in inspect.signature(placement_group).parameters:
        assert found["small"] == small
    else:
        assert found["small"] in ([one] for one in small)
    assert (ALONE in done.stderr) is not knows_labels
    assert found["nodes"] == len(found["small"])
    assert found["large"] == ["127.0.0.4"]
    assert found["named"] == ["127.0.0.3"]
