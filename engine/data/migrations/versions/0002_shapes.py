"""Labels with a shape: which pictures are done, which belong together, what they look like, and which warnings were waved through."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns and the table."""
    with op.batch_alter_table("projects") as projects:
        projects.add_column(sa.Column("settings", sa.JSON))
    with op.batch_alter_table("items") as items:
        items.add_column(sa.Column("reviewed", sa.Boolean, nullable=False, server_default=sa.false()))
        items.add_column(sa.Column("group_name", sa.Text))
        items.add_column(sa.Column("fingerprint", sa.String(16)))
    op.create_table(
        "dismissed",
        sa.Column("project_id", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("project_id", "kind", "subject", name="pk_dismissed"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_dismissed_project_id", ondelete="CASCADE"),
    )
