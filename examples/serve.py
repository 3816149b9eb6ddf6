"""MobileNetV2 over HTTP, with as many replicas and threads as a search has found best: Ray Serve.

It needs pip install '.[serve]'. Find the setting, then serve with it:

    kamerton-ray tune examples/mobilenet.py:build --export json > tuned.json
    python examples/serve.py tuned.json
    curl localhost:8000

Or leave the setting to a file of Ray Serve's, which sets the threads by environment variables:

    kamerton-ray tune examples/mobilenet.py:build --export serve > serve.yaml
    serve run --working-dir examples serve.yaml
"""

import argparse
import json
import os
import signal
from pathlib import Path

import ray
from mobilenet import build
from ray import serve

from kamerton_ray import set_threading


@serve.deployment
class Model:
    """A replica: one instance of the model, in a process of its own."""

    def __init__(self, setting=None) -> None:
        """Set the threads, which TensorFlow fixes with the first tensor; then build the model."""
        # 0 leaves a count to the environment, and then to TensorFlow.
        self.threads = set_threading({"intra_op": 0, "inter_op": 0, **(setting or {})})
        import tensorflow as tf

        tf.keras.utils.set_random_seed(0)  # all replicas have the same weights
        self.step = build()
        self.step()  # the first step is slow

    async def __call__(self) -> dict:
        """Run a step; a request would bring the images, had the model not its own.

        It is async so that a replica runs one step at a time, as was measured. Of a plain function
        newer ones of Ray Serve run several calls at once, in threads.
        """
        classes = self.step().numpy().argmax(axis=-1)
        return {"classes": classes.tolist(), "process": os.getpid(), **self.threads._asdict()}


app = Model.bind()  # for serve run: the threads come with the environment


def tuned(setting: dict) -> serve.Application:
    """The application with a setting: its instances as replicas, its counts in each of them."""
    variables = {name: str(value) for name, value in setting.items() if name.isupper()}
    return Model.options(
        num_replicas=setting.get("instances", 1),
        # The setting has shared out the CPUs, so Ray need not.
        ray_actor_options={"num_cpus": 0, "runtime_env": {"env_vars": variables}},
    ).bind(setting)


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("setting", type=Path, help="what --export json has printed")
    parser.add_argument("--port", type=int, default=8000, help="(%(default)s)")
    args = parser.parse_args()
    ray.init("local", include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"port": args.port})
    try:
        serve.run(tuned(json.loads(args.setting.read_text())))
        print(f"http://localhost:{args.port} answers, until Ctrl-C", flush=True)
        signal.pause()
    except KeyboardInterrupt:
        print("ended")
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
