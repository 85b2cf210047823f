from tfsr.training.config import Config, build_model, read_config
from tfsr.training.fit import train

__all__ = ["Config", "build_model", "read_config", "train"]
