"""The `dr` command. Nothing heavy is imported before a command needs it."""


def main() -> None:
    """Run `dr` with this process's arguments, and exit with its code."""
    import os
    import sys

    # finding plugins of pydantic means reading the metadata of every package that is installed
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

    from dr_pipelines.cli.run import run

    sys.exit(run(sys.argv[1:]))
