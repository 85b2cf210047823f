from tfsr.training.config import Config, build_model, model_table, read_config
from tfsr.training.fit import train

__all__ = ["Config", "build_model", "model_table", "read_config", "train"]
