"""`--expect-head`: a machine that has seen nothing of a repository is not led astray."""

import pytest

from tests.cli.workplace import Workplace

COMMANDS = (("points",), ("verify", "--level", "0"), ("backup",), ("restore",))


@pytest.mark.parametrize("command", COMMANDS, ids=[words[0] for words in COMMANDS])
def test_a_log_without_the_expected_entry_is_refused(
    protected: Workplace, command: tuple[str, ...]
) -> None:
    verb, *words = command
    points = len(protected.dr("points", "notes", "--json").json["points"])

    refused = protected.dr(verb, "notes", *words, "--expect-head", "ab" * 32)

    assert refused.code == 1
    message = " ".join(refused.err.split())
    assert f"no entry of the log has the expected hash {'ab' * 32}; it ends at log:" in message
    assert len(protected.dr("points", "notes", "--json").json["points"]) == points
    assert protected.dr(verb, "notes", *words, "--expect-head", "AB").code == 2


@pytest.mark.parametrize("command", COMMANDS, ids=[words[0] for words in COMMANDS])
def test_a_log_that_goes_on_from_the_expected_entry_is_taken(
    protected: Workplace, command: tuple[str, ...]
) -> None:
    verb, *words = command
    snapshot = protected.dr("backup", "notes", "--json").json["sha256"]
    assert protected.dr("backup", "notes").code == 0
    assert protected.dr(verb, "notes", *words, "--expect-head", snapshot).code == 0
