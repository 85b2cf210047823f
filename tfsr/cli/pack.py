"""`tfsr pack`."""

from tfsr.cli.arguments import positive, with_json, with_overrides
from tfsr.cli.output import present
from tfsr.cli.train import check_config
from tfsr.quiet import import_keras


def add(command):
    help = "Pack the images of a config into one file, to train elsewhere."
    pack = command("pack", run, help)
    pack.add_argument("config", help="as for train")
    pack.add_argument("-o", "--out", required=True, metavar="FILE")
    pack.add_argument(
        "--megabytes",
        type=positive,
        default=1000,
        metavar="N",
        help="largest size of FILE; a random choice of pieces is taken (1000)",
    )
    with_overrides(pack)
    with_json(pack)


def run(options):
    check_config(options.config, options.set)
    import_keras()
    from tfsr.training import pack, read_config

    config = read_config(options.config, options.set)
    report = pack(config, options.out, options.megabytes)
    present(
        options,
        report,
        f"{options.out}: {report['pieces']} of {report['pieces_in_all']} pieces of the "
        f"training images and {report['validation_images']} validation images, "
        f"{report['size_bytes'] / 2**20:.0f} MB; train elsewhere with --set "
        f"data.pack={options.out}",
    )
