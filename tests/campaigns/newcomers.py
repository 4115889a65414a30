"""Commands and files of a new user before a first proven backup. A part of docs/campaigns.md."""

from dataclasses import dataclass

INIT = "tests/cli/test_init.py::"
TITLE = """\
## As a new user

From the README alone, after `make demo`: what is typed, and how many lines of YAML are written by
hand, until a first backup is proven equal. In the first release the lines of the README's own
example, with nothing left out that is required; now `dr init WHAT` and `dr backup`."""


@dataclass(frozen=True)
class Way:
    """`before` and `now` are commands and lines of YAML."""

    what: str
    before: tuple[int, int]
    now: tuple[int, int]
    tests: tuple[str, ...]


WAYS = (
    Way(
        "a Git wiki of one's own",
        (2, 13),
        (2, 0),
        (f"{INIT}test_a_wiki_is_safe_after_one_init_and_one_backup",),
    ),
    Way(
        "tables that LangChain's library made in PostgreSQL, both generations",
        (1, 11),
        (2, 0),
        (f"{INIT}test_tables_of_langchain_are_safe_after_one_init_and_one_backup",),
    ),
    Way(
        "a collection that Chroma's client made",
        (1, 11),
        (2, 0),
        (f"{INIT}test_a_store_in_a_directory_is_safe_after_one_init_and_one_backup",),
    ),
)


def section() -> str:
    """The part of the page, as Markdown."""
    head = (
        "| what is there | first release: commands | lines of YAML | now: commands | lines of YAML "
        "| tests |"
    )
    rows = [
        f"| {way.what} | {way.before[0]} | {way.before[1]} | {way.now[0]} | {way.now[1]} | "
        f"{'<br>'.join(f'`{test}`' for test in way.tests)} |"
        for way in WAYS
    ]
    return "\n".join((TITLE, "", head, "|---|---|---|---|---|---|", *rows, ""))
