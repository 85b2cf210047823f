"""`tfsr demo`."""

from tfsr.cli.models import import_tensorflow


def add(command):
    demo = command("demo", run, "The whole way on embedded photographs.", True)
    demo.add_argument("-o", "--out", default="demo", help="folder of the results")


def run(options):
    import_tensorflow()
    from tfsr.demo import demo

    demo(options.out)
