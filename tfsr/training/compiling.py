"""Compiles a config's network: precision, loss, optimizer and learning rate."""

import contextlib

import keras
from keras import ops

from tfsr.config import Config
from tfsr.losses import LOSSES
from tfsr.models import supervision_weights
from tfsr.optimizers import OPTIMIZERS
from tfsr.schedules import SCHEDULES
from tfsr.training import distribution
from tfsr.training.gradients import check_gradients
from tfsr.training.precision import is_fast
from tfsr.training.unjoined_groups import UnjoinedGroups


def build_trainee(model: keras.Model, config: Config) -> keras.Model:
    """Returns a compiled copy of `model` to train, in the precision of `config`.

    The copy trains in float32 if that precision is slow here (`is_fast`). `model`
    itself stays in float32, holds any moving averages, and is saved without an
    optimizer.

    Args:
        model: The model that `config` builds.
        config: The experiment.
    """
    precision = config.train.mixed_precision
    mixed = precision != "float32" and is_fast(precision)
    with _dtype_policy(f"mixed_{precision}" if mixed else "float32"):
        network = config.build()
        trainee = UnjoinedGroups(network.input, network.output, name=network.name)
        trainee.teacher = config.teacher
        compile_model(trainee, config)
    trainee.set_weights(model.get_weights())
    return trainee


def build_on(
    replicas: distribution.Replicas, model: keras.Model, config: Config
) -> keras.Model:
    """Returns the network to train, compiled for `replicas` with a built optimizer.

    Args:
        replicas: A `distribution.Replicas` or one of its subclasses.
        model: The model to validate and save, which the network copies.
        config: The experiment.

    Raises:
        InputError: If several replicas cannot train as `config` asks, or if no gradient
            reaches some trainable weight.
    """
    with replicas.scope():
        trainee = build_trainee(model, config)
        trainee.optimizer.build(trainee.trainable_variables)
    alone = trainee if replicas.count == 1 else build_trainee(model, config)
    check_gradients(alone, config.train.patch)
    replicas.prepare(trainee)
    return trainee


def copy_trained_weights(trainee: keras.Model, model: keras.Model) -> None:
    """Copies the weights of `trainee`, or any moving averages of them, to `model`.

    `trainee` keeps its weights.
    """
    raw = trainee.get_weights()
    trainee.optimizer.finalize_variable_values(trainee.trainable_variables)
    model.set_weights(trainee.get_weights())
    trainee.set_weights(raw)


def compile_model(model: keras.Model, config: Config) -> None:
    """Compiles `model` with the loss, optimizer and schedule of `config`."""
    options = config.train
    loss = LOSSES[options.loss]
    several = isinstance(model.output, dict)
    model.compile(
        optimizer=_optimizer(options),
        loss=dict.fromkeys(model.output, loss) if several else loss,
        loss_weights=_loss_weights(list(model.output)) if several else None,
        steps_per_execution=options.steps_per_execution,
        # XLA on the CPU makes a step several times slower under TensorFlow.
        jit_compile=keras.backend.backend() != "tensorflow",
    )


def repeat_exactly() -> None:
    """Makes TensorFlow's operations deterministic, which is slower.

    It does nothing under JAX, which has no such setting.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def _loss_weights(outputs):
    """Returns loss weights by output: equal for scales, CMSC's for a cascade."""
    if "sr" in outputs:
        return supervision_weights(outputs)
    return dict.fromkeys(outputs, 1 / len(outputs))


class _L2Penalty:
    """Adds `l2_penalty` times the weight to each gradient, after clipping.

    The optimizer adds it, as in the papers, so that the reported loss excludes it.
    Keras' own `weight_decay` is decoupled from the gradient.
    """

    def __init__(self, l2_penalty, **kwargs):
        super().__init__(**kwargs)
        self.l2_penalty = l2_penalty

    def update_step(self, gradient, variable, learning_rate):
        if self.l2_penalty:
            gradient = gradient + self.l2_penalty * ops.cast(variable, gradient.dtype)
        super().update_step(gradient, variable, learning_rate)


def _optimizer(options):
    arguments = {
        "learning_rate": SCHEDULES[options.schedule["name"]].build(options),
        "global_clipnorm": options.clip_norm,
        "clipvalue": options.clip_value,
        "weight_decay": options.weight_decay,
        "l2_penalty": options.l2_penalty,
    }
    if options.accumulate > 1:
        arguments["gradient_accumulation_steps"] = options.accumulate
    if options.ema:
        # Keras averages after every batch, even one that only accumulates gradients.
        momentum = options.ema ** (1 / options.accumulate)
        arguments.update(use_ema=True, ema_momentum=momentum)
    optimizer = OPTIMIZERS[options.optimizer]
    kind = getattr(keras.optimizers, optimizer.name)
    with_penalty = type(optimizer.name, (_L2Penalty, kind), {})
    return with_penalty(**optimizer.arguments, **arguments)


@contextlib.contextmanager
def _dtype_policy(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
