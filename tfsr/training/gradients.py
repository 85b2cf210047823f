"""Checks that training reaches every trainable weight of a network."""

import keras
import numpy as np
from keras import ops

from tfsr.errors import InputError


def check_gradients(trainee: keras.Model, patch: int) -> None:
    """Checks, before the first step, that the loss depends on every trainable weight.

    If a layer uses a weight outside of `call`, the result is a constant in the graph,
    and the weight would silently not be trained.

    Args:
        trainee: The compiled network.
        patch: Side of its input in pixels.

    Raises:
        InputError: If no gradient reaches some trainable weights; names them.
    """
    rng = np.random.default_rng(0)
    inputs = keras.tree.map_structure(
        lambda x: ops.convert_to_tensor(
            rng.random((1, patch, patch, x.shape[-1]), np.float32)
        ),
        trainee.input,
    )
    unreached = UNREACHED.get(keras.backend.backend(), _not_told)(trainee, inputs)
    if unreached:
        raise InputError(
            f"{trainee.name}: no gradient reaches {', '.join(unreached)}; a layer must "
            "use its weights in `call` each time; set trainable=False for weights "
            "that are not to be trained."
        )


def _unreached_in_tensorflow(trainee, inputs):
    import tensorflow as tf

    weights = trainee.trainable_variables
    # Stateless, so moving means and random seeds do not change.
    with tf.GradientTape() as tape, keras.StatelessScope():
        outputs = keras.tree.flatten(trainee(inputs, training=True))
        total = sum(tf.reduce_sum(tf.cast(x, tf.float32)) for x in outputs)
    gradients = tape.gradient(total, [weight.value for weight in weights])
    pairs = zip(weights, gradients, strict=True)
    return [weight.path for weight, gradient in pairs if gradient is None]


def _unreached_in_jax(trainee, inputs):
    import jax

    weights = trainee.trainable_variables
    others = [v.value for v in trainee.non_trainable_variables]

    def total(values):
        outputs, _ = trainee.stateless_call(values, others, inputs, training=True)
        return sum(ops.sum(x) for x in keras.tree.flatten(outputs))

    program = jax.make_jaxpr(total)([weight.value for weight in weights]).jaxpr
    read = {id(x) for step in program.eqns for x in step.invars}
    pairs = zip(weights, program.invars, strict=True)
    return [weight.path for weight, variable in pairs if id(variable) not in read]


def _not_told(trainee, inputs):
    return []


UNREACHED = {"tensorflow": _unreached_in_tensorflow, "jax": _unreached_in_jax}
