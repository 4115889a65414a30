"""The role that a store's URL names: rights that it has and does not need."""

from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.statements import qualified

ROLE = qualified("""
    SELECT r.rolname, r.rolsuper, ARRAY(
        SELECT p.rolname FROM pg_roles p WHERE p.rolname IN (
            'pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files'
        ) AND pg_catalog.pg_has_role(p.oid, 'MEMBER') ORDER BY 1
    )::text[]
    FROM pg_roles r WHERE r.rolname = current_user
""")
ADVICE = "Give it what it needs and no more: docs/adapters/pgvector.md, Roles"


def role_warnings(session: Session) -> tuple[str, ...]:
    """A sentence for a role that may leave the database: what it is made to run may too."""
    name, is_superuser, groups = session.rows(ROLE)[0]
    if is_superuser:
        return (
            f"role {name!r} is a superuser: whatever it is made to run may read and write files "
            f"and run programs on the server. {ADVICE}",
        )
    if groups:
        return (
            f"role {name!r} is a member of {', '.join(groups)}: whatever it is made to run may "
            f"leave the database. {ADVICE}",
        )
    return ()
