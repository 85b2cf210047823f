from tfsr.report.models import Comparison, Model, Run
from tfsr.report.page import write
from tfsr.report.scores import score

__all__ = ["Comparison", "Model", "Run", "score", "write"]
