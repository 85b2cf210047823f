import struct

import pytest

from tfsr.tflite.devices.tool_log import delegation, profile, refusal, result, timings

# As TensorFlow Lite's tool prints it; older ones without the percentiles.
LOG = """\
INFO: STARTING!
INFO: Graph: [/data/local/tmp/m.tflite]
INFO: Loaded model /data/local/tmp/m.tflite
INFO: Initialized session in 5.685ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but \
terminate if exceeding 150 seconds.
INFO: count=35 first=18535 curr=14253 min=14036 max=18535 avg=14462.3 std=725{warm}

INFO: Running benchmark for at least 50 iterations and at least 1 seconds but \
terminate if exceeding 150 seconds.
INFO: count=69 first=14436 curr=14389 min=14073 max=16121 avg=14575.2 std=412{timed}

INFO: Inference timings in us: Init: 5685, First inference: 18535, Warmup (avg): \
14462.3, Inference (avg): 14575.2
INFO: Note: as the benchmark tool itself affects memory footprint, the following is \
only APPROXIMATE to the actual memory footprint of the model at runtime.
INFO: Memory footprint delta from the start of the tool (MB): init=6.72 overall=12.29
"""
TIMED = {
    "runs": 69,
    "load_ms": 5.685,
    "first_ms": 18.535,
    "mean_ms": 14.5752,
    "min_ms": 14.073,
    "std_ms": 0.412,
    "peak_memory_mb": 12.29,
}


def test_newer_log():
    log = LOG.format(
        warm=" p5=14100 median=14300 p95=15900",
        timed=" p5=14080 median=14500 p95=15700",
    )
    assert timings(log) == TIMED | {"median_ms": 14.5, "p95_ms": 15.7}


def test_log_without_percentiles_and_levels():
    assert timings(LOG.format(warm="", timed="").replace("INFO: ", "")) == TIMED


def test_log_of_logcat():
    """As the tool for Android's own log has it."""
    front = "05-30 15:16:45.362  3380  3380 I tflite  : "
    log = "\n".join(
        front + line.removeprefix("INFO: ")
        for line in LOG.format(warm="", timed="").splitlines()
    )
    assert timings(log) == TIMED


@pytest.mark.parametrize("name", ["Inference", "no stats"])
def test_oldest_log(name):
    log = f"""\
count=7 first=127425 curr=66709 min=66709 max=127425 avg=76605.9 std=20944

Running benchmark for at least 50 iterations and at least 1 seconds
count=50 first=79449 curr=81350 min=77385 max=88213 avg=79732 std=1929

============================== Run Order ==============================
Timings (microseconds): count=50 first=79449 curr=81350 min=1 max=2 avg=3 std=4
Memory (bytes): count=0
31 nodes observed


Average inference timings in us: Warmup: 83235, Init: 38467, {name}: 79760.9
"""
    assert timings(log) == {
        "runs": 50,
        "first_ms": 127.425,
        "load_ms": 38.467,
        "mean_ms": 79.732,
        "min_ms": 77.385,
        "std_ms": 1.929,
    }


def test_runs_that_are_all_the_same():
    log = "count=1 curr=20\n\ncount=3 curr=10(all same)\n"
    assert timings(log) == {
        "runs": 3,
        "first_ms": 0.02,
        "mean_ms": 0.01,
        "min_ms": 0.01,
        "std_ms": 0,
    }


@pytest.mark.parametrize("first", ["Warmup (first):      ", "First inference:     "])
def test_log_of_litert(first):
    log = f"""\
INFO: [benchmark_litert_model.h:75]
========== BENCHMARK RESULTS ==========
INFO: [benchmark_litert_model.h:76] Model initialization: 21.35 ms
INFO: [benchmark_litert_model.h:78] {first} 18.53 ms
INFO: [benchmark_litert_model.h:80] Warmup (avg):         14.46 ms (35 runs)
INFO: [benchmark_litert_model.h:82] Inference (avg):      14.58 ms (69 runs)
INFO: [benchmark_litert_model.h:86] Inference (min):      14.07 ms
INFO: [benchmark_litert_model.h:88] Inference (max):      16.12 ms
INFO: [benchmark_litert_model.h:90] Inference (std):      0.41
INFO: [benchmark_litert_model.h:98] Throughput:           11.80 MB/s
Memory Usage:
Init footprint:       6.72 MB
Overall footprint:    12.29 MB
Peak memory usage not available. (peak_mem_mb <= 0)
======================================
"""
    assert timings(log) == {
        "runs": 69,
        "load_ms": 21.35,
        "first_ms": 18.53,
        "mean_ms": 14.58,
        "min_ms": 14.07,
        "std_ms": 0.41,
        "peak_memory_mb": 12.29,
    }


@pytest.mark.parametrize("log", ["", "Segmentation fault", "count=5 first=1 curr=1"])
def test_a_log_cut_short_has_no_mean(log):
    assert "mean_ms" not in timings(log)


def test_protobuf():
    def field(number, kind, content):
        return bytes([number << 3 | kind]) + content

    def nested(number, content):
        return field(number, 2, bytes([len(content)]) + content)

    values = [14.5, 14.0, 16.0, 0.5, 14.25, 14.0, 15.5, 5.75, 18.5, 14.75]
    latency = b"".join(
        field(n, 5, struct.pack("<f", v)) for n, v in enumerate(values, 1)
    )
    memory = field(1, 0, b"\x01") + field(2, 0, b"\x80\x60")  # 12288 KiB
    misc = field(1, 5, struct.pack("<f", 0.5)) + field(2, 0, b"\x45")
    content = nested(1, b"name") + nested(2, latency) + nested(3, memory)
    assert result(content + nested(4, misc)) == {
        "load_ms": 5.75,
        "first_ms": 18.5,
        "median_ms": 14.25,
        "p95_ms": 15.5,
        "min_ms": 14.0,
        "mean_ms": 14.5,
        "std_ms": 0.5,
        "runs": 69,
        "peak_memory_mb": 12.0,
    }
    assert result(b"") == {}
    with pytest.raises(ValueError, match="not a BenchmarkResult"):
        result(b"<html>")


APPLIED = "INFO: Explicitly applied {} delegate, and the model graph will be "
ALL = "completely executed by the delegate.\n"
PART = "partially executed by the delegate w/ 3 delegate kernels.\n"
NONE = (
    "INFO: Though GPU delegate is explicitly applied, the model graph will not be "
    "executed by the delegate.\n"
)


def replaced(count, of, name):
    return (
        f"VERBOSE: Replacing {count}{of} node(s) with delegate ({name}) node, yielding "
        "7 partitions for subgraph 0.\n"
    )


@pytest.mark.parametrize(
    ("log", "cpu", "expected"),
    [
        ("", True, [None, None, None, None]),
        (APPLIED.format("XNNPACK") + ALL, True, ["all", 1, None, None]),
        (APPLIED.format("GPU") + PART, False, ["part", 3, None, None]),
        (NONE, False, ["none", 0, None, None]),
        (  # of TensorFlow 2.2
            "Applied GPU delegate, and the model graph will be completely executed w/ "
            "1 delegate kernels.",
            False,
            ["all", 1, None, None],
        ),
        (
            replaced(20, " out of 27", "TfLiteGpuDelegateV2")
            + APPLIED.format("GPU")
            + PART
            + replaced(7, " out of 10", "TfLiteXNNPackDelegate"),
            False,
            ["part", 3, 20, 27],
        ),
        (
            replaced(27, " out of 27", "LITERT_CL"),
            False,
            ["all", 1, 27, 27],
        ),
        (replaced(27, "", "TfLiteXNNPackDelegate"), True, [None, None, 27, None]),
        (replaced(27, " out of 27", "TfLiteXNNPackDelegate"), False, [None] * 4),
        (replaced(0, " out of 27", "LITERT_CL"), False, ["none", 0, 0, 27]),
    ],
)
def test_what_a_delegate_took(log, cpu, expected):
    found = delegation(log, cpu)
    keys = ("delegated", "partitions", "delegated_operators", "operators")
    assert [found[key] for key in keys] == expected


@pytest.mark.parametrize(
    ("log", "flag", "expected"),
    [
        (APPLIED.format("GPU") + ALL, "--use_gpu", None),
        (APPLIED.format("GPU") + PART, "--use_gpu", None),
        ("ERROR: Failed to apply GPU delegate.", "--use_gpu", "Failed to apply GPU"),
        ("ERROR: Disallowed CPU fallback detected.", "--use_gpu", "Disallowed CPU"),
        (NONE, "--use_gpu", "it took no operator"),
        (
            "WARN: Unconsumed cmdline flags: --output_filepath=o --use_gpu=true",
            "--use_gpu",
            "the tool does not know --use_gpu",
        ),
        ("INFO: count=1 curr=20", "--use_gpu", "does not say that it ran"),
        (
            replaced(27, " out of 27", "TfLiteXNNPackDelegate"),
            "--use_gpu",
            "does not say that it ran",
        ),
        ("WARN: Unconsumed cmdline flags: --output_filepath=o", None, None),
        ("INFO: count=1 curr=20", None, None),
        (NONE.replace("GPU", "XNNPACK"), None, None),
    ],
)
def test_why_a_delegate_did_not_run(log, flag, expected):
    reason = refusal(log, flag)
    assert reason == expected if expected is None else expected in reason


CSV = """\
Profiling Info for Benchmark Initialization:
============================== Run Order ==============================
node type, {start}first, avg_ms, %, cdf%, mem KB, times called, name
AllocateTensors, {zero}2.8, 1.4, 4.9%, 100%, 0, 2, AllocateTensors/0

Operator-wise Profiling Info for Regular Benchmark Runs:
============================== Run Order ==============================
node type, {start}first, avg_ms, %, cdf%, mem KB, times called, name
CONV_2D, {zero}4.3, 4.25, 50%, 50%, 0, 1, [head/Relu, head/BiasAdd]:0
{middle}, {zero}0.5, 0.4, 40%, 90%, 0, 3, [body]:1
ADD, {zero}0.01, 1e-05, 0%, 90%, 0, 1, [sum]:2

============================== Top by Computation Time ==============================
node type, {start}first, avg_ms, %, cdf%, mem KB, times called, name
CONV_2D, {zero}4.3, 4.25, 50%, 50%, 0, 1, [head/Relu, head/BiasAdd]:0

Number of nodes executed: 3
============================== Summary by node type ==============================
node type, count, avg_ms, avg %, cdf %, mem KB, times called
CONV_2D, 1, 4.25, 50%, 50%, 0, 1

Timings (microseconds): count=50 first=79449 curr=81350 min=77385 max=88213 avg=79732
"""


@pytest.mark.parametrize(("start", "zero"), [("", ""), ("start, ", "0.5, ")])
def test_profile_as_csv(start, zero):
    """Newer tools have no column "start"."""
    text = CSV.format(start=start, zero=zero, middle="CONV_2D")
    assert profile(text) == [
        {
            "kind": "CONV_2D",
            "name": "head/Relu, head/BiasAdd",
            "count": 1,
            "ms": 4.25,
        },
        {"kind": "CONV_2D", "name": "body", "count": 3, "ms": 0.4},
        {"kind": "ADD", "name": "sum", "count": 1, "ms": 1e-5},
    ]


def test_profile_inside_a_delegate():
    graph = CSV.format(start="", zero="", middle="TfLiteXNNPackDelegate")
    inside = """\
Delegate internal:
============================== Run Order ==============================
node type, first, avg_ms, %, cdf%, mem KB, times called, name
Convolution (NHWC, QC8, F32) IGEMM, 3, 2.5, 50%, 50%, 0, 2, Delegate/Convolution:0
Add (ND, QS8), 2, 1.5, -nan%, nan%, 0, 1, Delegate/Add:1
"""
    assert [(r["kind"], r["count"], r["ms"]) for r in profile(graph + inside)] == [
        ("CONV_2D", 1, 4.25),
        ("ADD", 1, 1e-5),
        ("Convolution (NHWC, QC8, F32) IGEMM", 2, 2.5),
        ("Add (ND, QS8)", 1, 1.5),
    ]


def test_profile_in_the_log():
    """Tabs and padding instead of commas; the oldest tools count no calls."""
    text = (
        "============================== Run Order ==============================\n"
        "\t             [node type]\t  [start]\t  [first]\t [avg ms]\t     [%]\t"
        "  [cdf%]\t  [mem KB]\t[times called]\t[Name]\n"
        "\t                 CONV_2D\t    0.000\t    4.269\t    4.250\t  0.107%\t"
        "  0.107%\t     0.000\t        0\t[net/Conv2d_0/Relu6]\n"
        "\t       DEPTHWISE_CONV_2D\t    4.270\t    2.150\t    2.125\t  0.054%\t"
        "  0.161%\t     0.000\t        0\t[net/Conv2d_1/Relu6]\n\n"
        "============================== Top by Computation Time =========\n"
        "\t             [node type]\t  [start]\t  [first]\t [avg ms]\t     [%]\t"
        "  [cdf%]\t  [mem KB]\t[times called]\t[Name]\n"
        "\t                 CONV_2D\t    0.000\t    4.269\t    4.250\t  0.107%\t"
        "  0.107%\t     0.000\t        0\t[net/Conv2d_0/Relu6]\n"
    )
    assert profile(text) == [
        {"kind": "CONV_2D", "name": "net/Conv2d_0/Relu6", "count": 1, "ms": 4.25},
        {
            "kind": "DEPTHWISE_CONV_2D",
            "name": "net/Conv2d_1/Relu6",
            "count": 1,
            "ms": 2.125,
        },
    ]


def test_no_profile():
    assert profile("") == []
    assert profile("INFO: STARTING!\nINFO: count=1 curr=20\n") == []
