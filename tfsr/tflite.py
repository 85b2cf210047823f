"""`tfsr.tflite` in a checkout, where its folder lies beside that of `tfsr`.

An installed `tfsr` has the folder inside, which Python takes before this module.
"""

from pathlib import Path

__path__ = [str(Path(__file__).parents[1] / "tflite")]
