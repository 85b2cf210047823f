"""LiteRT's CPU delegate, XNNPACK, as an engine."""

from pathlib import Path

from tfsr.tflite.runtime import TFLiteFile, delegated, partitions


def coverage(file: str | Path, option: str, seconds: float) -> dict:
    """Returns what the delegate takes of a file, as `Engine.coverage` does."""
    interpreter = TFLiteFile(file).interpreter
    inside, parts = delegated(interpreter), partitions(interpreter)
    refused = {
        op["op_name"]
        for op in interpreter._get_ops_details()
        if op["op_name"] != "DELEGATE" and op["index"] not in inside
    }
    return {
        "parts": parts,
        "whole": parts == 1 and not refused,
        "refused_operators": sorted(refused),
        "reason": None,
    }
