"""Parsers for the output of TensorFlow Lite's and LiteRT's `benchmark_model`.

Both tools have that name. Their output differs between them and between versions. A
result has no key for a figure that the output lacks.
"""

import re

NUMBER = r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
# A logger's prefix may precede it: "INFO: ", or logcat's date, process and tag.
STATISTICS = re.compile(
    rf"^(?:.*?: +)?count=(\d+)((?: \w+={NUMBER}(?:\(all same\))?)*)\s*$", re.MULTILINE
)
CELL = r"-?(?:nan|inf|[\d.]+(?:e[-+]?\d+)?)%?"
UNKNOWN_FLAGS = re.compile(r"(?:Unconsumed cmdline flags|[Uu]nrecogni[sz]ed).*")
US = {
    "load_ms": (rf"Inference timings in us: Init: ({NUMBER})", rf"Init: ({NUMBER})"),
    "first_ms": (rf"First inference: ({NUMBER})",),
    "mean_ms": (
        rf"Inference \(avg\): ({NUMBER})",
        rf"(?:Inference|no stats): ({NUMBER})\s*$",
    ),
}
MS = {
    "load_ms": rf"Model initialization: +({NUMBER}) ms",
    "first_ms": rf"(?:Warmup \(first\)|First inference): +({NUMBER}) ms",
    "mean_ms": rf"Inference \(avg\): +({NUMBER}) ms",
    "min_ms": rf"Inference \(min\): +({NUMBER}) ms",
    "std_ms": rf"Inference \(std\): +({NUMBER})",
    "peak_memory_mb": rf"Overall footprint: +({NUMBER}) MB",
}
DELEGATED = re.compile(
    r"[Aa]pplied (\S+) delegate, and the model graph will be "
    r"(completely|partially) executed(?: by the delegate)?"
    r"(?: w/ (\d+) delegate kernels)?"
)
NOT_DELEGATED = re.compile(r"Though (\S+) delegate is explicitly applied, the model")
REPLACED = re.compile(
    r"Replacing (\d+)(?: out of (\d+))? node\(s\) with delegate \((\w+)\) node, "
    r"yielding (\d+) partitions"
)
REFUSED = re.compile(
    r"Failed to apply .*|Disallowed CPU fallback detected.*|"
    r"(?:Can't|Could not|Couldn't|Failed to) (?:create|load|open) .*delegate.*"
)


def timings(log: str) -> dict:
    """Returns the timings in a log, with the keys of a benchmark's result.

    Args:
        log: Standard output and standard error of the tool, in one of these forms:
            TensorFlow Lite's "count=50 first=... avg=..." (newer ones with percentiles)
            with "Inference timings in us: ..." or the older "Average inference timings
            in us: ..."; LiteRT's table "BENCHMARK RESULTS".

    Returns:
        Those of `load_ms`, `first_ms`, `runs`, `mean_ms`, `min_ms`, `std_ms`,
        `median_ms`, `p95_ms` and `peak_memory_mb` that the log has.
    """
    if "BENCHMARK RESULTS" in log:
        found = {key: _number(pattern, log) for key, pattern in MS.items()}
        runs = _number(r"Inference \(avg\): .*\((\d+) runs\)", log)
        found["runs"] = None if runs is None else int(runs)
    else:
        found = _tensorflow_timings(log)
    return {key: value for key, value in found.items() if value is not None}


def _tensorflow_timings(log):
    found = {}
    statistics = STATISTICS.findall(log)  # first the warm-up, then the timed runs
    if len(statistics) >= 2:
        runs, values = statistics[1]
        us = dict(re.findall(rf"(\w+)=({NUMBER})", values))
        found = {
            "runs": int(runs),
            "mean_ms": _ms(us.get("avg", us.get("curr"))),
            "min_ms": _ms(us.get("min", us.get("curr"))),
            "std_ms": _ms(us.get("std", 0)),  # missing where all runs are the same
            "median_ms": _ms(us.get("median")),
            "p95_ms": _ms(us.get("p95")),
        }
        warm_up = dict(re.findall(rf"(\w+)=({NUMBER})", statistics[0][1]))
        found["first_ms"] = _ms(warm_up.get("first", warm_up.get("curr")))
    summary = next((x for x in log.splitlines() if "timings in us" in x), "")
    for key, patterns in US.items():
        numbers = (_number(pattern, summary) for pattern in patterns)
        value = next((n for n in numbers if n is not None), None)
        if value is not None and found.get(key) is None:
            found[key] = value / 1e3
    found["peak_memory_mb"] = _number(
        rf"Memory footprint delta .*overall=({NUMBER})", log
    )
    return found


def result(content: bytes) -> dict:
    """Returns the timings in a `BenchmarkResult`, with the keys of `timings`.

    Args:
        content: The protobuf that `--result_file_path` wrote.

    Raises:
        ValueError: If `content` is no such protobuf.
    """
    from google.protobuf.message import DecodeError

    message = _message_class()()
    try:
        message.ParseFromString(content)
    except DecodeError as error:
        raise ValueError(f"not a BenchmarkResult ({error}).") from None
    found = {
        key: getattr(part, field)
        for part, field, key in (
            (message.latency_metrics, "init_ms", "load_ms"),
            (message.latency_metrics, "first_inference_ms", "first_ms"),
            (message.latency_metrics, "median_ms", "median_ms"),
            (message.latency_metrics, "p95_ms", "p95_ms"),
            (message.latency_metrics, "min_ms", "min_ms"),
            (message.latency_metrics, "avg_ms", "mean_ms"),
            (message.latency_metrics, "stddev_ms", "std_ms"),
            (message.misc_metrics, "num_runs", "runs"),
        )
        if part.HasField(field)
    }
    if message.memory_metrics.HasField("overall_footprint_kb"):
        found["peak_memory_mb"] = message.memory_metrics.overall_footprint_kb / 1024
    return found


def _message_class():
    """Returns a protobuf class for `BenchmarkResult` with the fields used here.

    The field numbers are from TensorFlow Lite's tools/benchmark/proto.
    """
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    latencies = {
        "avg": 1,
        "min": 2,
        "stddev": 4,
        "median": 5,
        "p95": 7,
        "init": 8,
        "first_inference": 9,
    }
    messages = {
        "LatencyMetrics": [
            (f"{name}_ms", number, kinds.TYPE_FLOAT, None)
            for name, number in latencies.items()
        ],
        "MemoryMetrics": [("overall_footprint_kb", 2, kinds.TYPE_INT64, None)],
        "MiscMetrics": [("num_runs", 2, kinds.TYPE_INT32, None)],
        "BenchmarkResult": [
            (f"{part}_metrics", number, kinds.TYPE_MESSAGE, f"{part.title()}Metrics")
            for number, part in ((2, "latency"), (3, "memory"), (4, "misc"))
        ],
    }
    file = descriptor_pb2.FileDescriptorProto(
        name="benchmark_result.proto", package="tfsr", syntax="proto2"
    )
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field, number, kind, type_name in fields:
            message.field.add(
                name=field,
                number=number,
                type=kind,
                label=kinds.LABEL_OPTIONAL,
                type_name=type_name and f".tfsr.{type_name}",
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName("tfsr.BenchmarkResult")
    )


def delegation(log: str, cpu: bool) -> dict:
    """Returns which part of the graph a delegate ran, as the log says.

    Args:
        log: The tool's output.
        cpu: Whether the chosen delegate is XNNPACK. If not, the operators that XNNPACK
            ran of the rest do not count.

    Returns:
        `delegated`, "all", "part" or "none"; `partitions`, the number of parts of the
        graph that the delegate ran; `delegated_operators` of all `operators`. A value
        is None if the log does not say.
    """
    found = dict.fromkeys(
        ("delegated", "partitions", "delegated_operators", "operators")
    )
    for taken, operators, name, _ in REPLACED.findall(log):
        if cpu or "xnnpack" not in name.lower():
            found["delegated_operators"] = int(taken)
            found["operators"] = int(operators) if operators else None
            if operators:
                found["delegated"] = "all" if taken == operators else "part"
            if taken == "0":
                found["delegated"] = "none"
    applied = DELEGATED.search(log)
    if applied:
        found["delegated"] = "all" if applied[2] == "completely" else "part"
        found["partitions"] = int(applied[3]) if applied[3] else None
    elif NOT_DELEGATED.search(log):
        found["delegated"] = "none"
    if found["delegated"] in ("all", "none"):
        found["partitions"] = int(found["delegated"] == "all")
    return found


def refusal(log: str, flag: str | None) -> str | None:
    """Returns why a delegate did not run the model, or None if it did.

    Args:
        log: The tool's output.
        flag: The tool's flag that chose the delegate; None for the CPU.
    """
    unknown = UNKNOWN_FLAGS.search(log)
    if flag and unknown and flag in unknown[0]:
        return f"the tool does not know {flag}"
    delegated = delegation(log, cpu=flag is None)["delegated"]
    if delegated in ("all", "part"):
        return None
    refused = REFUSED.search(log)
    if refused:
        return refused[0].strip()
    if flag and delegated == "none":
        return "it took no operator of the model"
    if flag and delegated is None:
        # If the tool cannot create a delegate, it goes on without it.
        return "the tool does not say that it ran; the CPU may have"
    return None


def profile(text: str) -> list[dict]:
    """Returns the operators of a profile in the order in which they run.

    Args:
        text: Content of `--op_profiling_output_file` or of the log, with columns
            separated by commas or tabs.

    Returns:
        For each operator `kind`, `name`, `count` (calls in a run) and `ms` of one call.
        If a delegate profiles its own operators, they replace the delegate's row.
    """
    _, _, regular = text.rpartition("Profiling Info for Regular Benchmark Runs")
    graph, _, inside = regular.partition("Delegate internal")
    operators, delegated = _run_order(graph), _run_order(inside)
    if delegated:
        operators = [row for row in operators if "delegate" not in row["kind"].lower()]
    return operators + delegated


def _run_order(text):
    """Returns the rows of all tables called "Run Order" in `text`."""
    rows, wanted, names = [], False, None
    for line in text.splitlines():
        line = re.sub(r"\s*\t\s*", "\t", line.strip())
        separator = "\t" if "\t" in line else ", "
        if line.startswith("==="):
            wanted, names = "Run Order" in line, None
        elif wanted and line.strip("[").lower().startswith("node type"):
            names = [
                cell.strip("[]").replace("_", " ").lower()
                for cell in line.split(separator)
            ]
        elif names and line:
            # Kinds and tensor names may contain commas; numbers do not.
            numbers = rf"((?:{CELL}{separator}){{{len(names) - 2}}})"
            found = re.fullmatch(rf"(.*?){separator}{numbers}(.*)", line)
            if found:
                cells = found[2].split(separator)
                row = dict(zip(names[1:-1], cells, strict=False))
                rows.append(
                    {
                        "kind": found[1],
                        "name": re.sub(r"^\[(.*)\](?::\d+)?$", r"\1", found[3]),
                        "count": max(1, int(row["times called"])),
                        "ms": float(row["avg ms"]),
                    }
                )
    return rows


def _number(pattern, text):
    found = re.search(pattern, text, re.MULTILINE)
    return None if found is None else float(found[1])


def _ms(us):
    return None if us is None else float(us) / 1e3
