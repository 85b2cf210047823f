"""Fixes two faults that keep Keras' `fit` from running on several workers.

https://github.com/keras-team/keras/issues/20585, open as of Keras 3.15. Under
MultiWorkerMirroredStrategy, `fit` averages a whole batch over the workers only to learn
its shapes, and averages scalar logs over an axis that they do not have. Remove this
file once the oldest supported Keras has the fix.
"""

import contextlib
from collections.abc import Iterator
from unittest import mock

import keras

from tfsr.errors import InputError

FAULTY = ("3.14", "3.15")  # faulty releases with which the fix is tested


@contextlib.contextmanager
def patched_keras() -> Iterator[None]:
    """Lets `fit` run under a `MultiWorkerMirroredStrategy` inside the block.

    Raises:
        InputError: If the installed Keras is not in `FAULTY`.
    """
    from keras.src.backend.tensorflow import trainer

    release = keras.__version__.rpartition(".")[0]
    if release not in FAULTY:
        raise InputError(
            f"strategy multi_worker works with Keras {' and '.join(FAULTY)}, "
            f"not {keras.__version__}: pip install 'keras=={FAULTY[-1]}.*'."
        )
    with (
        mock.patch.object(
            trainer.TensorFlowTrainer, "_maybe_symbolic_build", _build_from_local_batch
        ),
        mock.patch.object(trainer, "reduce_per_replica", _mean_of_logs),
    ):
        yield


def _build_from_local_batch(self, iterator=None, data_batch=None):
    if iterator is not None:
        _, _, batches = next(iter(iterator))
        data_batch = keras.tree.map_structure(
            lambda value: self.distribute_strategy.experimental_local_results(value)[0],
            next(batches),
        )
    with self.distribute_strategy.scope():
        self._symbolic_build(data_batch=data_batch)


def _mean_of_logs(values, strategy, reduction):
    return keras.tree.map_structure(
        lambda value: strategy.reduce("MEAN", value, axis=None), values
    )
