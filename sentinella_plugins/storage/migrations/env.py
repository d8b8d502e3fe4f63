"""Run by Alembic. The connection, its transaction and the lock around it are the caller's."""

from __future__ import annotations

from alembic import context

from sentinella_plugins.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=context.config.attributes["connection"].dialect.name == "sqlite",
)
context.run_migrations()
