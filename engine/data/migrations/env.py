"""How alembic runs here: on the connection that `engine.data.store` gives it, inside that connection's transaction."""

from __future__ import annotations

from alembic import context

from engine.data.store import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
