"""Qualcomm's compiler for its Hexagon NPU, and the emulator that runs what it makes.

LiteRT's plugin compiles with the libraries of `onnxruntime-qnn`, and ONNX Runtime runs
the result in their emulator. The user installs them, under Qualcomm's licence; nothing
here does.
"""

import importlib.util
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tfsr import children, extras
from tfsr.files import write_array

LICENCE = (
    "Qualcomm's libraries in onnxruntime-qnn are under its AI Stack licence: to "
    "develop applications of one's own and to benchmark; not to be passed on by "
    "themselves, nor reverse engineered"
)
PLUGIN = Path("vendors") / "qualcomm" / "compiler"
PROGRAM = Path("tools") / "apply_plugin_main"
LEAST_FREE = 2**16  # bytes of a disk; with less, what was written may be cut off
FAILURE = re.compile(r"^ERROR: \[\S+\] (.+)$", re.MULTILINE)  # of LiteRT's plugin
ERROR = re.compile(r"\[ ERROR \]\s*(?:<E> )?(.+)")


def missing() -> str | None:
    """Returns what to install before the compiler can run; None if it can."""
    if not (_litert() / PROGRAM).exists() or not (_litert() / PLUGIN).is_dir():
        return "LiteRT has its compiler on Linux x86-64 alone"
    if any(importlib.util.find_spec(n) is None for n in ("onnx", "onnxruntime_qnn")):
        return f"{extras.command('qualcomm')}; {LICENCE}"
    return None


def coverage(file: str | Path, soc: str, seconds: float) -> dict:
    """Returns what the compiler takes of a file, as `Engine.coverage` does.

    Raises:
        ChildError: If the compiler crashes or does not answer.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "parts.tflite"
        log = _apply("partition", file, soc, out, seconds)
        outside, parts = _operators(out.read_bytes())
    error = ERROR.search(log)
    return {
        "parts": parts,
        "whole": parts == 1 and not outside,
        "refused_operators": sorted(outside),
        "reason": error[1].strip() if error and outside else None,
    }


def compile(file: str | Path, soc: str, out: str | Path, seconds: float) -> None:
    """Writes a file compiled for a processor; operators it does not take stay as is.

    Args:
        file: The `.tflite` file.
        soc: The processor, such as `SM8650`.
        out: The `.tflite` file to write.
        seconds: How long it may take.

    Raises:
        ChildError: If the compiler fails.
    """
    _apply("apply", file, soc, out, seconds)


def run(file: str | Path, soc: str, lr: Path, sr: Path, seconds: float) -> dict:
    """Runs a file in the emulator, as `gpu.run` does on a GPU.

    Raises:
        ChildError: If the compiler or the emulator fails, or does not take it whole.
    """
    with tempfile.TemporaryDirectory() as folder:
        compiled = Path(folder) / "compiled.tflite"
        compile(file, soc, compiled, seconds)
        outside, parts = _operators(compiled.read_bytes())
        if outside or parts != 1:
            without = f", without {', '.join(sorted(outside))}" if outside else ""
            raise children.ChildError(
                str(file),
                f"takes it in {parts} parts{without}; only what is taken whole can be "
                "run here",
                "",
            )
        arguments = (str(compiled), str(lr), str(sr))
        here = f"{__name__}:child_run"
        children.call(str(file), here, *arguments, seconds=seconds)
    return {"device": f"{soc} in Qualcomm's emulator", "software": True}


def child_run(compiled: str, lr: str, sr: str) -> None:
    """Runs a compiled file on the inputs of one `.npy` file; writes another."""
    import onnxruntime
    import onnxruntime_qnn

    model, given, wanted = _as_onnx(Path(compiled).read_bytes())
    name = "tfsr"
    library = onnxruntime_qnn.get_library_path()
    onnxruntime.register_execution_provider_library(name, library)
    devices = [d for d in onnxruntime.get_ep_devices() if d.ep_name == name]
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    options.add_provider_for_devices(
        devices, {"backend_path": onnxruntime_qnn.get_qnn_htp_path()}
    )
    session = onnxruntime.InferenceSession(model, options)
    session.disable_fallback()
    outputs = []
    for image in np.load(lr):
        values = session.run(wanted, {given: image})
        one = len(values) == 1
        outputs.append(values[0] if one else np.concatenate([*map(np.ravel, values)]))
    write_array(sr, np.stack(outputs))


def _as_onnx(content):
    """Returns a compiled file as an ONNX model, with the names of input and outputs."""
    from flatbuffers import flexbuffers
    from onnx import helper

    from tfsr.tflite.flatbuffer import unpack

    graph = unpack(content).subgraphs[0]
    (dispatch,) = graph.operators
    facts = flexbuffers.Loads(bytes(dispatch.customOptions))
    begin = facts["bytecode_offset"]
    ends = [*dispatch.inputs, *dispatch.outputs]
    lr, *sr = (_value_info(graph.tensors[i]) for i in ends)
    wanted = [graph.tensors[i].name.decode() for i in graph.outputs]
    # Without these, ONNX Runtime goes by an order of its own.
    names = ";".join(f"{end.name}={end.name}" for end in (lr, *sr))
    node = helper.make_node(
        "EPContext",
        [lr.name],
        [end.name for end in sr],
        domain="com.microsoft",
        main_context=1,
        embed_mode=1,
        source="QNN",
        partition_name=facts["name"],
        io_name_overrides=names,
        ep_cache_context=content[begin : begin + facts["bytecode_size"]],
    )
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(
        helper.make_graph([node], "compiled", [lr], sr),
        opset_imports=sets,
        ir_version=10,
    )
    return model.SerializeToString(), lr.name, wanted


def _value_info(tensor):
    from ai_edge_litert.schema_py_generated import TensorType
    from onnx import TensorProto, helper

    kinds = {
        TensorType.FLOAT32: TensorProto.FLOAT,
        TensorType.UINT8: TensorProto.UINT8,
        TensorType.INT8: TensorProto.INT8,
    }
    shape = [int(side) for side in tensor.shape]
    return helper.make_tensor_value_info(
        tensor.name.decode(), kinds[tensor.type], shape
    )


def _operators(content):
    """Returns the number of operators left out, by kind, and the number of parts."""
    from tfsr.tflite.flatbuffer import kind_of, unpack

    model = unpack(content)
    found = Counter(kind_of(model, op) for op in model.subgraphs[0].operators)
    parts = found.pop("CUSTOM", 0)
    return found, parts


def _apply(routine, file, soc, out, seconds):
    with _libraries() as path:
        command = [
            _litert() / PROGRAM,
            f"--cmd={routine}",
            f"--model={Path(file).absolute()}",
            "--soc_manufacturer=Qualcomm",
            f"--soc_model={soc}",
            f"--libs={_litert() / PLUGIN}",
            f"--o={Path(out).absolute()}",
        ]
        try:
            log = children.run(str(file), command, seconds, {"LD_LIBRARY_PATH": path})
        except children.ChildError as error:
            raise _with_reason(error, str(file)) from None
    folder = Path(out).parent
    if shutil.disk_usage(folder).free < LEAST_FREE:  # the compiler does not report that
        raise children.ChildError(str(file), f"no space left in {folder}", log)
    return log


def _with_reason(error, name):
    """Returns the error with the compiler's own reason, if its log has one."""
    # The errors after the first one follow from it.
    said = FAILURE.search(error.log)
    return children.ChildError(name, said[1], error.log) if said else error


@contextmanager
def _libraries() -> Iterator[str]:
    """Yields the library path by which the compiler finds Qualcomm's libraries."""
    folder = _folder_of("onnxruntime_qnn")
    with tempfile.TemporaryDirectory() as links:
        # LiteRT asks for a library that the wheel lacks, and needs nothing of it.
        (Path(links) / "libQnnLpai.so").symlink_to(folder / "libQnnSystem.so")
        before = os.environ.get("LD_LIBRARY_PATH")
        yield ":".join([str(folder), links, *([before] if before else [])])


def _litert():
    return _folder_of("ai_edge_litert")


def _folder_of(package):
    (folder,) = importlib.util.find_spec(package).submodule_search_locations
    return Path(folder)
