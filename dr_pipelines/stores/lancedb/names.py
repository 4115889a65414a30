"""Names of collections as LanceDB has them, and back."""

from dr_pipelines.model.collection import PHYSICAL_NAME


def stored_name(physical: str) -> str:
    """`handbook@12-5f` is the table `handbook.12-5f`: LanceDB allows no `@`, and a collection's
    name has no `.` before it."""
    return physical.replace("@", ".", 1)


def physical_name(stored: str) -> str | None:
    """The collection's name for a table's; None for a table whose name cannot be one."""
    name = stored.replace(".", "@", 1)
    return name if PHYSICAL_NAME.fullmatch(name) else None
