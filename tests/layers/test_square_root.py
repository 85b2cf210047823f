import numpy as np
import tensorflow as tf

from tfsr.layers import SquareRoot


def test_contract(check_layer):
    check_layer(SquareRoot(), 3)


def test_has_a_gradient_of_0_at_0():
    x = tf.constant([0.0, 0.25, 4.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = SquareRoot()(x)
    np.testing.assert_array_equal(y, [0, 0.5, 2])
    np.testing.assert_allclose(tape.gradient(y, x), [0, 1, 0.25])
