"""Stands in for `benchmark_model`: runs the model with LiteRT, prints the tool's lines.

FAKE_TOOL has words that change what it does, FAKE_WHEN the text of the arguments that
they are for (any by default).
"""

import os
import signal
import struct
import sys
import time
from pathlib import Path

WORDS = os.environ.get("FAKE_TOOL", "").split()
if os.environ.get("FAKE_WHEN", "") not in " ".join(sys.argv):
    WORDS = []
FLAGS = dict(a.removeprefix("--").split("=", 1) for a in sys.argv[1:])
NEWER = ("result_file_path", "output_filepath", "op_profiling_output_file")
PROFILE = """\
Profiling Info for Benchmark Initialization:
============================== Run Order ==============================
node type, first, avg_ms, %, cdf%, mem KB, times called, name
ModifyGraphWithDelegate, 4.5, 4.5, 90%, 90%, 0, 1, ModifyGraphWithDelegate/0
AllocateTensors, 0.5, 0.5, 10%, 100%, 0, 1, AllocateTensors/0

Operator-wise Profiling Info for Regular Benchmark Runs:
============================== Run Order ==============================
node type, first, avg_ms, %, cdf%, mem KB, times called, name
TfLiteXNNPackDelegate, 9, 8, 100%, 100%, 0, 1, [sr]:27

============================== Top by Computation Time ==============================
node type, first, avg_ms, %, cdf%, mem KB, times called, name
TfLiteXNNPackDelegate, 9, 8, 100%, 100%, 0, 1, [sr]:27

Delegate internal:
============================== Run Order ==============================
node type, first, avg_ms, %, cdf%, mem KB, times called, name
Convolution (NHWC, QC8) IGEMM, 3, 3, 50%, 50%, 0, 2, Delegate/Convolution:0
Add (ND, QS8), 2, 2, 50%, 100%, 0, 1, Delegate/Add:1

"""


def log(*lines):
    for line in lines:
        print(f"INFO: {line}", file=sys.stderr, flush=True)


def say_delegate():
    if "litert" in WORDS:
        say_accelerator()
        return
    flags = {"use_gpu": "GPU", "external_delegate_path": "EXTERNAL"}
    kind = next((name for flag, name in flags.items() if flag in FLAGS), "XNNPACK")
    if "refuse" in WORDS:
        print(f"ERROR: Failed to apply {kind} delegate.", file=sys.stderr)
        sys.exit(1)
    if "ignore" in WORDS:
        log(
            f"Though {kind} delegate is explicitly applied, the model graph will not be"
            " executed by the delegate."
        )
    elif "part" in WORDS:
        log(
            "Replacing 20 out of 27 node(s) with delegate (TfLiteGpuDelegateV2) node, "
            "yielding 7 partitions for the main graph.",
            f"Explicitly applied {kind} delegate, and the model graph will be "
            "partially executed by the delegate w/ 3 delegate kernels.",
        )
    elif "silent" not in WORDS:
        log(
            f"Explicitly applied {kind} delegate, and the model graph will be "
            "completely executed by the delegate."
        )


def say_accelerator():
    """Says it as LiteRT's tool does, which needs libraries for an NPU."""
    if "use_npu" in FLAGS:
        folder = Path(FLAGS["dispatch_library_path"])
        if not [*folder.glob("libLiteRtDispatch_*.so")]:
            print("ERROR: Failed to create NPU accelerator.", file=sys.stderr)
            sys.exit(1)
        assert os.environ["ADSP_LIBRARY_PATH"] == str(folder)
    names = {"use_npu": "DispatchDelegate", "use_gpu": "LITERT_CL"}
    name = next((n for flag, n in names.items() if flag in FLAGS), None)
    if name:
        log(
            f"Replacing 27 out of 27 node(s) with delegate ({name}) node, yielding 1 "
            "partitions for subgraph 0."
        )


def misbehave():
    if "crash" in WORDS:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "hang" in WORDS:
        time.sleep(120)
    if "full" in WORDS:
        print("write: No space left on device", file=sys.stderr)
        sys.exit(1)
    if "fail" in WORDS:
        print("ERROR: Failed to allocate tensors!", file=sys.stderr)
        sys.exit(1)
    if "mute" in WORDS:
        sys.exit(0)
    if "vanish" in WORDS:
        (Path(os.environ["FAKE_PHONE"]) / "gone").touch()


def run():
    """Returns the output, and the latencies of warm-up and timed runs in us."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(FLAGS["graph"], num_threads=int(FLAGS["num_threads"]))
    shape = [int(n) for n in FLAGS["input_layer_shape"].split(",")]
    (lr,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(lr["index"], shape)
    interpreter.allocate_tensors()
    name, _, file = FLAGS.get("input_layer_value_files", "").partition(":")
    content = Path(file).read_bytes() if name else bytes(np.zeros(shape, lr["dtype"]))
    interpreter.set_tensor(
        lr["index"], np.frombuffer(content, lr["dtype"]).reshape(shape)
    )
    us = []
    for _ in range(int(FLAGS["warmup_runs"]) + int(FLAGS["num_runs"])):
        started = time.perf_counter()
        interpreter.invoke()
        us.append(round((time.perf_counter() - started) * 1e6))
    (sr,) = interpreter.get_output_details()
    output = interpreter.get_tensor(sr["index"])
    if "nan" in WORDS:
        output = np.full_like(output, np.nan)
    if "wrong" in WORDS:
        output = output[..., ::-1]
    return output, us[: int(FLAGS["warmup_runs"])], us[int(FLAGS["warmup_runs"]) :]


def percentile(us, n):
    return sorted(us)[len(us) * n // 100]


def statistics(us):
    mean = sum(us) / len(us)
    std = (sum((x - mean) ** 2 for x in us) / len(us)) ** 0.5
    line = (
        f"count={len(us)} first={us[0]} curr={us[-1]} min={min(us)} max={max(us)} "
        f"avg={mean:g} std={std:.0f}"
    )
    if "old" not in WORDS:
        line += "".join(
            f" {name}={percentile(us, n)}"
            for name, n in (("p5", 5), ("median", 50), ("p95", 95))
        )
    return line


def report(warmup, us):
    mean, warm = sum(us) / len(us), sum(warmup) / len(warmup)
    if "litert" in WORDS:
        log(
            "\n========== BENCHMARK RESULTS ==========",
            "Model initialization: 1.25 ms",
            f"Warmup (first):       {warmup[0] / 1e3:.2f} ms",
            f"Warmup (avg):         {warm / 1e3:.2f} ms ({len(warmup)} runs)",
            f"Inference (avg):      {mean / 1e3:.2f} ms ({len(us)} runs)",
            f"Inference (min):      {min(us) / 1e3:.2f} ms",
            f"Inference (max):      {max(us) / 1e3:.2f} ms",
            "Inference (std):      0.01",
            "\nMemory Usage:",
            "Overall footprint:    8.50 MB",
            "======================================\n",
        )
        return
    log(statistics(warmup) + "\n", statistics(us) + "\n")
    if "old" in WORDS:
        log(
            f"Average inference timings in us: Warmup: {warm:g}, Init: 1250, "
            f"Inference: {mean:g}"
        )
    else:
        log(
            f"Inference timings in us: Init: 1250, First inference: {warmup[0]}, "
            f"Warmup (avg): {warm:g}, Inference (avg): {mean:g}"
        )
    log("Memory footprint delta from the start of the tool (MB): init=1.5 overall=8.5")


def result(warmup, us):
    """Returns a BenchmarkResult, its wire format put together by hand."""

    def nested(number, content):
        return bytes([number << 3 | 2, len(content)]) + content

    latencies = {
        1: sum(us) / len(us),
        2: min(us),
        3: max(us),
        5: percentile(us, 50),
        7: percentile(us, 95),
        8: 1250,
        9: warmup[0],
    }
    latency = b"".join(
        bytes([number << 3 | 5]) + struct.pack("<f", value / 1e3)
        for number, value in latencies.items()
    )
    memory = bytes([2 << 3, 0x80, 0x44])  # 8704 KiB as a varint
    misc = bytes([2 << 3, len(us)])
    return nested(2, latency) + nested(3, memory) + nested(4, misc)


def main():
    log("STARTING!", f"Graph: [{FLAGS['graph']}]")
    if "old" in WORDS:
        unknown = [f"--{name}={FLAGS.pop(name)}" for name in NEWER if name in FLAGS]
        print(f"WARN: Unconsumed cmdline flags: {' '.join(unknown)}", file=sys.stderr)
    if "litert" in WORDS:
        for name in ("external_delegate_path", "output_filepath"):
            if name in FLAGS:
                flag = f"--{name}={FLAGS.pop(name)}"
                print(f"WARN: Unconsumed cmdline flags: {flag}", file=sys.stderr)
    say_delegate()
    misbehave()
    output, warmup, us = run()
    report(warmup, us)
    if "result_file_path" in FLAGS:
        Path(FLAGS["result_file_path"]).write_bytes(result(warmup, us))
    if "output_filepath" in FLAGS:
        Path(FLAGS["output_filepath"]).write_bytes(output.tobytes())
    if "enable_op_profiling" in FLAGS and "unprofiled" not in WORDS:
        newer = FLAGS.get("op_profiling_output_file")
        Path(newer or FLAGS["profiling_output_csv_file"]).write_text(PROFILE)


if __name__ == "__main__":
    main()
