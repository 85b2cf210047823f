"""`tfsr summary`."""

from tfsr.cli.arguments import MODEL_HELP, positive, size, with_json
from tfsr.cli.output import present
from tfsr.errors import InputError, or_input_error
from tfsr.quiet import import_keras


def add(command):
    summary = command("summary", run, "Parameters and mult-adds of a model.")
    summary.add_argument("model", help=f"a network's name, a config, {MODEL_HELP}")
    summary.add_argument("--scale", type=positive)
    summary.add_argument(
        "--set", action="append", default=[], metavar="model.KEY=VALUE"
    )
    summary.add_argument(
        "--size", type=size, metavar="HxW", help="LR size; for 1280x720 HR by default"
    )
    with_json(summary)


def run(options):
    import_keras()
    from tfsr.graph import complexity
    from tfsr.models import MODELS, scales, single_scale
    from tfsr.training import build_model, model_table, read_config
    from tfsr.zoo.loading import load_model

    name, table = options.model, None
    if name in MODELS:
        table = model_table(name, options.set)
    elif name.endswith(".toml"):
        table = read_config(name, options.set).model
    elif options.set:
        raise InputError(f"--set {options.set[0]}: is for a network or a config.")
    model = build_model(table, name) if table else load_model(name)
    name = table["name"] if table else name
    params = complexity.params(model)
    results = []
    for scale in [options.scale] if options.scale else scales(model):
        single = or_input_error(single_scale, model, scale)
        if options.size:
            height, width = options.size
            mult_adds = complexity.mult_adds(single, height, width)
        else:  # 1280x720 HR as in the CARN paper, where LR need not be whole
            height, width = (
                side / scale if side % scale else side // scale for side in (720, 1280)
            )
            mult_adds = complexity.mult_adds_720p(single, scale)
        channels = single.input.shape[-1]
        results.append(
            {
                "scale": scale,
                "params_of_scale": complexity.params(single),
                "mult_adds": mult_adds,
                "input": [height, width, channels],
                "output": [round(height * scale), round(width * scale), channels],
            }
        )
    largest = {key: results[-1][key] for key in ("mult_adds", "input", "output")}
    report = {"model": name, "params": params, **largest, "scales": results}
    of_all = f" ({params:,} with all scales)" if len(scales(model)) > 1 else ""
    lines = [
        f"{name} x{r['scale']}: {r['params_of_scale']:,} parameters{of_all}, "
        f"{r['mult_adds'] / 1e9:.2f} G mult-adds for "
        f"{r['output'][1]}x{r['output'][0]} output"
        for r in results
    ]
    present(options, report, "\n".join(lines))
