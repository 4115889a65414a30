"""`python -m dr_pipelines` is `dr`."""

from dr_pipelines.cli import main

if __name__ == "__main__":
    main()
