from tfsr.cli.program import main

__all__ = ["main"]
