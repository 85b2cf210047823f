"""`tfsr app`."""

from tfsr.cli.arguments import known_model, with_json, with_litert_js
from tfsr.cli.output import present


def add(command):
    help = "Write a site that enlarges and restores photos on the visitor's device."
    app = command("app", run, help, makes_folders=True)
    app.add_argument(
        "models",
        type=known_model,
        nargs="*",
        metavar="FILE.tflite",
        help="models for the site; by default the released int8 models",
    )
    app.add_argument(
        "-o", "--out", required=True, metavar="DIR", help="the folder of the site"
    )
    with_litert_js(app)
    with_json(app)


def run(options):
    from tfsr.tflite.app.site import write_site

    report = write_site(options.out, options.models, options.litert_js)
    size = f"{report['size_bytes'] / 1e6:.0f} MB"
    text = f"{options.out}: {len(report['models'])} models, {size}. To try it:\n"
    text += f"python -m http.server --bind 127.0.0.1 --directory {options.out}"
    present(options, report, text)
    return 0
