"""The networks by name, and where their builders are: an entry is all that one needs.

Names are checked by this table before Keras is loaded; `tfsr.MODELS` has the builders.
"""

from collections.abc import Callable
from typing import Any

NETWORKS = {
    "carn": "tfsr.models.carn:carn",
    "carn_m": "tfsr.models.carn:carn_m",
    "cmsc": "tfsr.models.cmsc:cmsc",
    "ffdnet": "tfsr.models.ffdnet:ffdnet",
    "ms3_carn": "tfsr.models.ms3_carn:ms3_carn",
    "pmsc": "tfsr.models.cmsc:pmsc",
    "scn": "tfsr.models.scn:scn",
    "scn_pspnet": "tfsr.models.scn:scn_pspnet",
    "scn_unet": "tfsr.models.scn:scn_unet",
    "sesr": "tfsr.models.sesr:sesr",
    "srresnet": "tfsr.models.srresnet:srresnet",
    "vdsr": "tfsr.models.vdsr:vdsr",
}


class Builders(dict[str, Callable[..., Any]]):
    """Builders by the names of their networks; of another name it says which it has."""

    def __missing__(self, name: object) -> Callable[..., Any]:
        raise KeyError(f"{name!r} is no network; there are {', '.join(self)}")
