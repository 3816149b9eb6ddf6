"""Where trials are placed on three nodes of two kinds, as JSON: `python placed.py`."""

import json
import logging
import sys
import time

import ray
from ray.cluster_utils import Cluster
from ray.util.placement_group import placement_group_table, remove_placement_group

from kamerton_ray import one_per_node, trial_nodes
from kamerton_ray.tune.placement import one_of_these

SETTLED_S = 1.0
"""After so many seconds all that have a place have it."""


def places(request, count):
    """The addresses of the nodes that so many trials at once are placed on."""
    groups = [request().to_placement_group() for _ in range(count)]
    groups[0].wait(60)
    time.sleep(SETTLED_S)
    tables = [placement_group_table(group) for group in groups]
    for group in groups:
        remove_placement_group(group)
    placed = [one for one in tables if one["state"] == "CREATED"]
    return sorted(ADDRESSES[one["bundles_to_node_id"][0]] for one in placed)


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr)
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    for last, cpus in enumerate((2, 2, 5), 2):
        cluster.add_node(num_cpus=cpus, node_ip_address=f"127.0.0.{last}")
    ray.init(cluster.address, logging_level="ERROR")
    ADDRESSES = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes()}
    found = {
        "nodes": trial_nodes(),
        "small": places(one_per_node, 3),
        "large": places(lambda: one_per_node({"slots": 5.0}), 2),
        "named": places(lambda: one_of_these(["127.0.0.3"]), 2),
    }
    print(json.dumps(found))
    ray.shutdown()
    cluster.shutdown()
