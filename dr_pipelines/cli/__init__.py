"""The `dr` command. Nothing heavy is imported before a command needs it."""


def main() -> None:
    """Run `dr` with this process's arguments, and exit with its code."""
    import sys

    from dr_pipelines.cli.run import run

    sys.exit(run(sys.argv[1:]))
