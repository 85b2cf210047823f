from tfsr.config import Config, read_config
from tfsr.networks import build_model, model_table
from tfsr.training.estimate import dry_run
from tfsr.training.fit import train
from tfsr.training.packing import pack

__all__ = [
    "Config",
    "build_model",
    "dry_run",
    "model_table",
    "pack",
    "read_config",
    "train",
]
