"""`tfsr demo`."""

from tfsr.quiet import import_keras


def add(command):
    demo = command("demo", run, "The whole way on embedded photographs.", True)
    demo.add_argument("-o", "--out", default="demo", help="folder of the results")


def run(options):
    import_keras()
    from tfsr.demo import demo

    demo(options.out)
