"""Everything here is a campaign: short as a rule, and with DR_LONG=1 as long as it takes."""

from pathlib import Path

import pytest

from tests.campaigns.results import CAMPAIGN

HERE = Path(__file__).parent
SHORT_SECONDS = 900  # for a machine that is busy with other things; it takes a tenth as a rule


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not item.path.is_relative_to(HERE):
            continue
        item.add_marker(pytest.mark.timeout(0 if CAMPAIGN.long else SHORT_SECONDS))
        item.add_marker(pytest.mark.campaign)
