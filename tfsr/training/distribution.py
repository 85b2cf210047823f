"""Training on several devices and on several machines.

Batch, learning rate and steps mean the same for any number of replicas: each replica
takes its share of the same global batch, and their gradients are summed.
"""

import contextlib
import functools
import json
import os
import sys
from collections.abc import Iterator

import keras

from tfsr.errors import InputError, WorkerLostError
from tfsr.training import keras_20585, pipeline

BACKENDS = {  # by strategy, the Keras backends that support it; all support "single"
    "mirrored": ("tensorflow", "jax"),
    "multi_worker": ("tensorflow",),
}


class Replicas:
    """The single replica of a training on one device; subclasses have several.

    Attributes:
        count: Number of replicas.
        chief: Whether this is the worker that validates and writes.
    """

    count = 1
    chief = True

    def scope(self):
        """Returns the context in which to build model and optimizer."""
        return contextlib.nullcontext()

    def prepare(self, trainee: keras.Model) -> None:
        """Makes the optimizer of `trainee` clip the gradient of the global batch.

        Raises:
            InputError: If several replicas cannot train `trainee` as it is compiled.
        """

    def distribute(self, batches):
        """Returns the data for Keras' `fit`, made of `pipeline.Batches`."""
        if keras.backend.backend() == "tensorflow":
            return pipeline.dataset(batches)
        return batches

    def check_same(self, what: str, value: int) -> None:
        """Raises an `InputError` if `value`, called `what`, differs between workers."""

    def callbacks(self) -> list:
        """Returns the callbacks that `fit` must call after all others."""
        return []


class JAXReplicas(Replicas):
    """All devices of this machine under JAX, which splits each batch itself."""

    def __init__(self):
        self.count = len(keras.distribution.list_devices())


class TensorFlowReplicas(Replicas):
    """The replicas of a `tf.distribute.Strategy`."""

    def __init__(self, strategy, chief=True):
        import tensorflow as tf

        self.strategy = strategy
        self.count = strategy.num_replicas_in_sync
        self.chief = chief

        @tf.function
        def gather(value):
            values = strategy.run(lambda: tf.reshape(value, [1]))
            return strategy.gather(values, axis=0)

        self._gather_all = gather

    def scope(self):
        return self.strategy.scope()

    def prepare(self, trainee):
        import tensorflow as tf

        optimizer = trainee.optimizer
        # float16's loss-scaling optimizer wraps the one that updates the weights.
        updater = getattr(optimizer, "inner_optimizer", optimizer)
        # Both fail inside Keras up to 3.15.1: it sums gradients in a branch, where
        # replicas cannot synchronize.
        if trainee.steps_per_execution > 1 or updater.gradient_accumulation_steps:
            raise InputError(
                f"{self.count} replicas cannot accumulate gradients or take several "
                "steps per execution; raise batch instead, or set strategy single "
                f"(Keras {keras.__version__})."
            )
        # Keras 3.15 clips gradients and looks for float16 overflow in each replica and
        # then sums, unlike on one device. So the gradients are summed here first.
        apply = optimizer.apply

        def apply_sum(grads, trainable_variables=None):
            context = tf.distribute.get_replica_context()
            apply(context.all_reduce("SUM", list(grads)), trainable_variables)

        optimizer.apply = apply_sum
        updater._all_reduce_sum_gradients = lambda pairs: pairs

    def distribute(self, batches):
        def of_worker(context):
            here = self.count // context.num_input_pipelines
            first = here * context.input_pipeline_id
            return pipeline.dataset(batches, self.count, first, here)

        return self.strategy.distribute_datasets_from_function(of_worker)

    def check_same(self, what, value):
        values = self._gather(value)
        if len(set(values)) > 1:
            raise InputError(f"the workers disagree on {what}: {values}.")

    def callbacks(self):
        # All workers wait here until the chief has validated and saved.
        return [keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: self._gather(0))]

    def _gather(self, value):
        import tensorflow as tf

        return self._gather_all(tf.constant(value, tf.int64)).numpy().tolist()


@contextlib.contextmanager
def replicas(strategy: str, batch: int) -> Iterator[Replicas]:
    """Yields the replicas to train on.

    Args:
        strategy: One of `tfsr.config.STRATEGIES`. "auto" is "multi_worker" if
            `TF_CONFIG` names several workers, "mirrored" if there are several GPUs,
            otherwise "single".
        batch: Patches per scale of the global batch.

    Raises:
        InputError: If the strategy is not available here, or if `batch` is not a
            multiple of the number of replicas.
        WorkerLostError: If another worker stops.
    """
    if strategy == "auto":
        several = "mirrored" if _gpus() > 1 else "single"
        strategy = "multi_worker" if worker_count() > 1 else several
    backend = keras.backend.backend()
    needed = BACKENDS.get(strategy, (backend,))
    if backend not in needed:
        raise InputError(
            f"strategy {strategy} needs KERAS_BACKEND={' or '.join(needed)}, "
            f"not {backend}."
        )
    start = {
        "single": _single,
        "mirrored": _mirrored,
        "multi_worker": _multi_worker,
    }[strategy]
    with start() as started:
        if batch % started.count:
            raise InputError(
                f"[train] batch is {batch}, which {started.count} replicas cannot "
                f"share equally; take a multiple of {started.count}."
            )
        yield started


def worker_count() -> int:
    """Returns the number of workers that `TF_CONFIG` names; 1 if it is not set.

    Raises:
        InputError: If `TF_CONFIG` has not the form that TensorFlow expects.
    """
    text = os.environ.get("TF_CONFIG")
    if not text:
        return 1
    example = (
        '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, '
        '"task": {"type": "worker", "index": 0}}'
    )
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        addresses = cluster[task["type"]]
        fits = (
            set(cluster) <= {"chief", "worker"}
            and all(":" in a for part in cluster.values() for a in part)
            and isinstance(addresses, list)
            and 0 <= int(task["index"]) < len(addresses)
        )
    except (ValueError, KeyError, TypeError):
        fits = False
    if not fits:
        raise InputError(f"TF_CONFIG: must be as {example}, not {text}.")
    return sum(len(part) for part in cluster.values())


@contextlib.contextmanager
def _single():
    yield Replicas()


@contextlib.contextmanager
def _mirrored():
    if keras.backend.backend() == "jax":
        distribution = keras.distribution.DataParallel()
        with distribution.scope():
            yield JAXReplicas()
        return
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU")
    devices = devices or tf.config.list_logical_devices("CPU")
    yield TensorFlowReplicas(_mirroring(*(device.name for device in devices)))


@functools.cache
def _mirroring(*devices):
    """Returns the process's only strategy for some devices.

    A second strategy would number its collective operations like the first, and
    TensorFlow (2.21) would confuse them.
    """
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(devices)


@contextlib.contextmanager
def _multi_worker():
    import tensorflow as tf

    workers = worker_count()
    if workers < 2:
        raise InputError("strategy multi_worker: TF_CONFIG must name several workers.")
    print(f"waiting until all {workers} workers have started.", file=sys.stderr)
    lost = (
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
        tf.errors.UnavailableError,
    )
    try:
        strategy = _connect()
        with keras_20585.patched_keras():
            yield TensorFlowReplicas(strategy, _is_chief(strategy.cluster_resolver))
    except lost:
        print()  # ends the line of Keras' progress bar
        raise WorkerLostError(
            "another worker has stopped or cannot be reached; start all again to go on "
            "from the last epoch."
        ) from None


def _connect():
    import tensorflow as tf

    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except tf.errors.UnknownError as error:
        if "gRPC server" not in error.message:
            raise
        raise InputError(
            "TF_CONFIG: the address of this worker cannot be listened on; "
            "is its port in use, or is it another machine's?"
        ) from None


def _is_chief(resolver):
    first = "chief" if "chief" in resolver.cluster_spec().jobs else "worker"
    return (resolver.task_type, resolver.task_id) == (first, 0)


def _gpus():
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            return len(tf.config.list_physical_devices("GPU"))
        case "jax":
            return len(keras.distribution.list_devices())
        case _:
            return 1
