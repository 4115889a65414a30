"""One vocabulary for in whose layout records lie."""

import pytest

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.stores.shared.layout import Layout, Role, column_roles_of, laid_out, layout_of

ROLES = {Role.ID: "key", Role.TEXT: "body", Role.URI: None}


def test_a_section_says_the_layout_and_its_roles() -> None:
    section = laid_out(Layout.FOREIGN, ROLES)
    assert section == {"layout": "foreign", "column_roles": {"id": "key", "text": "body"}}
    assert layout_of(section) is Layout.FOREIGN
    assert column_roles_of(section) == {Role.ID: "key", Role.TEXT: "body"}


def test_a_section_that_says_nothing_is_managed() -> None:
    assert (layout_of({}), column_roles_of({})) == (Layout.MANAGED, {})
    assert laid_out(Layout.MANAGED) == {"layout": "managed"}


@pytest.mark.parametrize("word", ["table", "", None, 1, ["foreign"]])
def test_another_word_is_refused(word: object) -> None:
    with pytest.raises(InvalidRequest, match="expected managed or foreign"):
        layout_of({"layout": word})
