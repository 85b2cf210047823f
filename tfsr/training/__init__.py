from tfsr.config import Config, build_model, model_table, read_config
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
