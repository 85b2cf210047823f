"""`tfsr summary`."""

from tfsr.cli.arguments import positive, with_json, with_lr_size
from tfsr.cli.output import present
from tfsr.tables import mult_adds


def add(command):
    summary = command("summary", run, "Show parameters and mult-adds of a model.")
    summary.add_argument(
        "model", help="the name of a network, a config, a run folder or a .keras file"
    )
    summary.add_argument("--scale", type=positive)
    summary.add_argument(
        "--set", action="append", default=[], metavar="model.KEY=VALUE"
    )
    with_lr_size(summary)
    with_json(summary)


def run(options):
    from tfsr.zoo.summary import summarize

    report = summarize(options.model, options.scale, options.size, options.set)
    present(options, report, _text(report))


def _text(report):
    several = len(report["scales"]) > 1
    of_all = f" ({report['params']:,} with all scales)" if several else ""
    lines = [
        f"{report['model']} x{r['scale']}: {r['params_of_scale']:,} parameters{of_all},"
        f" {mult_adds(r['mult_adds'])} mult-adds for "
        f"{r['output'][1]}x{r['output'][0]} output"
        for r in report["scales"]
    ]
    if report["uncounted"]:
        lines.append(f"unknown and not counted: {', '.join(report['uncounted'])}")
    if report["far_seeing"]:
        lines.append(f"may see the whole image: {', '.join(report['far_seeing'])}")
    return "\n".join(lines)
