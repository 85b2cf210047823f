import itertools

import numpy as np
import pytest

from tfsr.data import GaussianNoise, ImageCache, PatchSampler
from tfsr.data.degradation_type import BICUBIC
from tfsr.training import pipeline
from tfsr.training.pipeline import Batches


@pytest.fixture
def make_sampler(photographs, tmp_path):
    def make(scales, task=BICUBIC):
        images = ImageCache([photographs], scales, tmp_path / "cache")
        return PatchSampler(images, patch=8, batch=4, degradation=task)

    return make


def batches_of(dataset, count):
    return list(itertools.islice(dataset.as_numpy_iterator(), count))


@pytest.mark.parametrize("first_step", [0, 5])
@pytest.mark.parametrize("task", [BICUBIC, GaussianNoise(10)], ids=str)
def test_batches_are_those_of_the_sampler(make_sampler, task, first_step):
    sampler = make_sampler((2 if task is BICUBIC else 1,), task)
    made = batches_of(pipeline.dataset(Batches(sampler, first_step)), 6)
    for step, batch in enumerate(made, first_step):
        for ours, theirs in zip(batch, sampler[step], strict=True):
            np.testing.assert_array_equal(ours, theirs)
            assert ours.dtype == np.float32


def test_replicas_share_the_batches_of_several_scales(make_sampler):
    sampler = make_sampler((2, 3))
    for worker in range(2):  # each with two of four replicas
        made = batches_of(pipeline.dataset(Batches(sampler), 4, 2 * worker, 2), 4)
        for i, batch in enumerate(made):
            wanted = sampler.share(i // 2, 2 * worker + i % 2, 4)
            for ours, theirs in zip(batch, wanted, strict=True):
                assert list(ours) == list(theirs)
                for key, array in theirs.items():
                    np.testing.assert_array_equal(ours[key], array)
