"""`tfsr.tflite` in a clone, where the folder `tflite` is beside `tfsr`.

An installed `tfsr` has the folder inside, which Python prefers to this module.
"""

from pathlib import Path

__path__ = [str(Path(__file__).parents[1] / "tflite")]
