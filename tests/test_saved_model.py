"""Saved models: what is put into them, and what is said where nobody knows what to put in."""

import json

import pytest

from kamerton_ray import InvalidInputError, SavedModel

SAVE = """
import tensorflow as tf
layers = tf.keras.layers

dense = tf.keras.Sequential([layers.Input((6,)), layers.Dense(4)])
dense.save("{0}/dense.keras")
dense.save("{0}/dense.h5")
dense.export("{0}/dense", verbose=False)

ids, mask = layers.Input((None,), dtype="int32", name="ids"), layers.Input((3,), name="mask")
both = layers.Concatenate()([layers.GlobalMaxPooling1D()(layers.Embedding(9, 2)(ids)), mask])
two = tf.keras.Model({{"ids": ids, "mask": mask}}, both)
two.save("{0}/two.keras")
two.export("{0}/two", verbose=False)

text = layers.Input((), dtype="string", name="text")
known = layers.StringLookup(vocabulary=["a"])(text)
tf.keras.Model(text, known).save("{0}/text.keras")

module = tf.Module()
module.call = tf.function(lambda x: x, [tf.TensorSpec(None)])
calls = {{"serving_default": module.call, "other": module.call}}
tf.saved_model.save(module, "{0}/open", signatures=calls)
tf.saved_model.save(tf.Module(), "{0}/none")
"""

TRY = """
from kamerton_ray import SavedModel
try:
    step = {0}()
    first, second = step(), step()
    first = first if isinstance(first, dict) else {{"it": first}}
    print(*(tuple(one.shape) for one in first.values()))
except ValueError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def called(in_tensorflow, tmp_path):
    """What comes of two calls of a saved model: their shape, or what is said instead."""
    in_tensorflow(SAVE.format(tmp_path))

    def go(name, **options):
        made = SavedModel(str(tmp_path / name), **options)
        return in_tensorflow(TRY.format(repr(made)))[-1]

    return go


def test_every_kind_of_saved_model_is_called_with_made_up_inputs(called):
    for name in ("dense.keras", "dense.h5", "dense"):
        assert called(name) == "(1, 4)"
        assert called(name, batch=3) == "(3, 4)"
    for name in ("two.keras", "two"):
        assert called(name, batch=2, shapes={"ids": (2, 7)}) == "(2, 5)"
    assert called("open", shapes={"x": (2, 5)}) == called(
        "open", shapes={"x": (2, 5)}, signature="other"
    )


def test_what_is_not_known_of_an_input_is_asked_for(called):
    for name in ("two.keras", "two"):
        said = called(name, batch=2)
        assert "InvalidInputError the shape of ids must be known but for its first" in said
        assert said.endswith("say it whole, as ids=2,128")
    assert "the shape of x must be known" in called("open")
    assert "text is of strings: write a function" in called("text.keras")
    said = called("two", shapes={"it": (2, 7)})
    assert said.endswith("a shape must be of one of the inputs, ids, mask, but got one of it")


def test_a_function_that_a_model_does_not_have_is_named(called):
    said = called("dense", signature="predict")
    assert said.endswith("serve, serving_default, but got 'predict'")
    assert "one of (there is none)" in called("none")


def test_what_is_no_saved_model_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "model.txt").touch()
    for name in ("empty", "model.txt", "none.keras"):
        with pytest.raises(InvalidInputError, match=r"must be a file of Keras's .* but got"):
            SavedModel(str(tmp_path / name))
    (tmp_path / "it.keras").touch()
    for options in ({"batch": 0}, {"batch": True}, {"shapes": {"x": (1, 0)}}):
        with pytest.raises(InvalidInputError, match="must be an integer of at least 1"):
            SavedModel(str(tmp_path / "it.keras"), **options)


def test_what_is_put_in_is_plain_json(tmp_path):
    (tmp_path / "it.keras").touch()
    model = SavedModel(str(tmp_path / "it.keras"), batch=2, shapes={"ids": (2, 7)})
    assert json.loads(json.dumps(model.inputs)) == {"batch": 2, "shapes": {"ids": [2, 7]}}
