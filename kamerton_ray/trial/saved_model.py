"""SavedModel: a model in a folder or a file as a `build`, so that nobody has to write one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.search.options import count

FILES = (".keras", ".h5")
"""How the names of Keras's files end."""

FOLDER_HOLDS = "saved_model.pb"
"""The file that makes a folder a SavedModel of TensorFlow's."""


def is_saved_model(path: Path) -> bool:
    """Whether there is a model: a file of Keras's, or a SavedModel's folder."""
    return (path.suffix in FILES and path.is_file()) or (path / FOLDER_HOLDS).is_file()


@dataclass(frozen=True)
class SavedModel:
    """Builds a saved model, and returns a step of it: one call with inputs made up for it.

    `benchmark(SavedModel("model.keras", batch=8))` is a trainable. Numbers in the inputs are
    uniform in [0, 1), integers and booleans are zero: a step takes as long whatever they are, as
    most do. Where it does not, or where an input is of strings, write a function that builds the
    model.

    Args:
        path: A file that Keras has saved (`.keras`, `.h5`), or the folder of a SavedModel, as
            `model.export` and `tf.saved_model.save` write it; from the trials' working directory.
        batch: How many examples a step takes: the size that stands for an open first dimension.
        shapes: By an input's name its whole shape, where other dimensions are open, too.
        signature: Which of a SavedModel's functions is called.

    Raises:
        InvalidInputError: There is no such model, or a size is no positive integer.
    """

    path: str
    batch: int = 1
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    signature: str = "serving_default"

    def __post_init__(self) -> None:
        if not is_saved_model(Path(self.path)):
            raise InvalidInputError(
                f"a saved model must be a file of Keras's ({', '.join(FILES)}) or a folder with "
                f"{FOLDER_HOLDS}, but got {str(self.path)!r}"
            )
        count("batch", self.batch, least=1)
        for name, shape in self.shapes.items():
            for size in shape:
                count(f"a size in the shape of {name}", size, least=1)

    @property
    def inputs(self) -> dict[str, object]:
        """What is put in, as plain JSON values."""
        return {"batch": self.batch, **({"shapes": dict(self.shapes)} if self.shapes else {})}

    def __call__(self) -> Callable[[], object]:
        """Load the model, and return a step of it.

        Raises:
            InvalidInputError: It has no such function or input, or one of which is not known what
                to put in.
        """
        if Path(self.path).suffix in FILES:
            return self._of_keras()
        import tensorflow as tf  # noqa: PLC0415 - seconds, and only a trial needs it

        functions = tf.saved_model.load(self.path).signatures
        if self.signature not in functions:
            raise InvalidInputError(
                f"the signature must be one of {', '.join(functions) or '(there is none)'}, but "
                f"got {self.signature!r}"
            )
        function = functions[self.signature]
        inputs = dict(self._inputs(function.structured_input_signature[1]))
        return lambda: function(**inputs)

    def _of_keras(self) -> Callable[[], object]:
        import tensorflow as tf  # noqa: PLC0415 - seconds, and only a trial needs it

        model = tf.keras.models.load_model(self.path, compile=False)
        known = getattr(model, "inputs", None)
        if not known:
            raise InvalidInputError(
                "a saved model must know its inputs, but this one of a class of its own does not: "
                "write a function that builds the model and calls it"
            )
        made = [value for _, value in self._inputs({one.name: one for one in known})]
        # Keras nests them as the model was made with them; a sequential one has no more than one.
        nested = getattr(model, "input", known[0])
        inputs = tf.nest.pack_sequence_as(nested, made)
        function = tf.function(lambda given: model(given, training=False))
        return lambda: function(inputs)

    def _inputs(self, specs: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
        """An input of each specification, by name."""
        import tensorflow as tf  # noqa: PLC0415 - it is there already

        if unknown := set(self.shapes) - set(specs):
            raise InvalidInputError(
                f"a shape must be of one of the inputs, {', '.join(sorted(specs))}, but got one of "
                f"{', '.join(sorted(unknown))}"
            )
        for name, spec in specs.items():
            shape, kind = self._shape(name, spec.shape), tf.as_dtype(spec.dtype)
            if kind == tf.string:
                raise InvalidInputError(
                    f"an input must be of numbers, but {name} is of strings: write a function that "
                    "builds the model and calls it"
                )
            make = tf.random.uniform if kind.is_floating else tf.zeros
            yield name, make(shape, dtype=kind)

    def _shape(self, name: str, said: Sequence[int | None]) -> tuple[int, ...]:
        if name in self.shapes:
            return tuple(self.shapes[name])
        is_open = getattr(said, "rank", 0) is None  # a TensorShape of which nothing is known
        sizes = [None, None] if is_open else list(said)
        if None in sizes[1:]:
            raise InvalidInputError(
                f"the shape of {name} must be known but for its first dimension, but it is {said}: "
                f"say it whole, as {name}={self.batch},128"
            )
        return tuple(self.batch if size is None else size for size in sizes)
