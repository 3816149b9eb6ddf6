"""What a user's program finds in a trial, whatever Ray's own processes have."""

import os

from kamerton_ray.environment import user_environment


def test_a_trial_has_the_users_allocator(ray_cluster):
    found = ray_cluster.get(ray_cluster.remote(user_environment).remote())
    for name in ("LD_PRELOAD", "MALLOC_CONF", "RAY_LD_PRELOAD_ON_WORKERS"):
        assert found.get(name) == os.environ.get(name)
