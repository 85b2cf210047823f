"""`tfsr import-carn`."""

from pathlib import Path

from tfsr import files
from tfsr.errors import InputError
from tfsr.quiet import import_keras


def add(command):
    carn = command("import-carn", run, "Convert the CARN authors' checkpoint.")
    carn.add_argument("file", metavar="FILE.pth")
    carn.add_argument("-o", "--out", required=True, metavar="MODEL.keras")


def run(options):
    if not options.out.endswith(".keras"):
        raise InputError(f"{options.out}: the output must end in .keras.")
    if not Path(options.file).is_file():
        raise InputError(f"{options.file}: no such file.")
    import_keras()
    from tfsr.zoo.carn_checkpoints import import_carn

    model = import_carn(options.file)
    with files.replacing(options.out) as temporary:
        model.save(temporary)
