import pytest

from tfsr.tflite.devices.delegates import Delegate


@pytest.fixture(scope="session")
def here():
    """Returns a delegate by name; skips where something must be installed for it."""

    def find(name):
        delegate = Delegate(name)
        if missing := delegate.kind.missing():
            pytest.skip(f"{name}: {missing}")
        return delegate

    return find
