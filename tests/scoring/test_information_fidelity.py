import numpy as np
import pytest

from tfsr.scoring.information_fidelity import ifc

pytest.importorskip("pyrtools", reason="IFC's steerable pyramid needs pyrtools")


def test_noise_and_contrast():
    rng = np.random.default_rng(0)
    hr = np.cumsum(rng.standard_normal((96, 120)), axis=1) * 5 + 128
    noise = rng.standard_normal(hr.shape)
    assert ifc(hr + noise, hr) > ifc(hr + 5 * noise, hr) > 0
    # A gain alone loses nothing: it is estimated, and so is the noise with it.
    halved = (hr + noise) / 2
    assert ifc(halved, hr) == pytest.approx(ifc(hr + noise, hr), rel=1e-6)
    assert ifc(np.full_like(hr, 128), hr) == 0
