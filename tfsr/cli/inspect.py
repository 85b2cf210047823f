"""`tfsr inspect`."""

from tfsr.cli.arguments import known_model, with_json
from tfsr.cli.delegates import delegates_of
from tfsr.cli.output import present
from tfsr.errors import or_input_error
from tfsr.tflite.devices.engines import examples


def add(command):
    inspect = command(
        "inspect", run, "Show what a converted model is, and where it runs."
    )
    inspect.add_argument("file", type=known_model, metavar="FILE.tflite")
    inspect.add_argument(
        "--delegates",
        metavar="LIST",
        help=f"show what each of these delegates takes: {examples()}",
    )
    with_json(inspect)


def run(options):
    from tfsr.data.degradations import from_table
    from tfsr.tflite.devices.delegates import coverage
    from tfsr.tflite.runtime import inspect

    delegates = delegates_of(options.delegates.split(",") if options.delegates else [])
    report = {"file": options.file, **inspect(options.file)}
    report["delegates"] = {d.name: coverage(options.file, d) for d in delegates}
    metadata = {**report["metadata"]}
    metadata["size"] = metadata["size"] or "dynamic"
    if "degradation" in metadata:
        table = metadata["degradation"]
        if table is None:
            metadata["degradation"] = "unknown"
        else:
            metadata["degradation"] = or_input_error(from_table, table)
    facts = [f"{key}: {value}" for key, value in metadata.items()]
    facts.insert(0, f"file: {options.file}")
    if "operators" in report:
        facts += _operators(report)
    for name, answer in report["delegates"].items():
        facts += [f"{name}: {_taken(answer)}", *answer["advice"]]
    present(options, report, "\n".join(facts))


def _operators(report):
    """Returns lines on a file's operators and on those that the CPU delegate takes."""
    operators = ", ".join(f"{n} {name}" for name, n in report["operators"].items())
    return [
        f"operators: {operators}",
        f"taken by the CPU delegate: {report['delegated']} operators of "
        f"{sum(report['operators'].values())}; partitions: {report['partitions']}",
        f"operators in floating point: {report['float_operators']}",
    ]


def _taken(answer):
    """Returns in one line how much of a file a delegate takes."""
    parts = f"{answer['parts']} part{'s' * (answer['parts'] != 1)}"
    said = parts if answer["taken"] == "parts" else answer["taken"]
    if answer["device"]:
        said += f", on {answer['device']}"
    if answer["refused_operators"]:
        said += f"; leaves out {', '.join(answer['refused_operators'])}"
    return f"{said}: {answer['reason']}" if answer["reason"] else said
