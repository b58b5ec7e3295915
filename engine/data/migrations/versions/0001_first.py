"""The first form of the database: projects, classes, items, annotations, versions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "projects",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("task", sa.String(60), nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("deleted", sa.Float),
        sa.Column("start", sa.Text, nullable=False),
        sa.Column("sample", sa.String(60), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_projects"),
    )
    op.create_table(
        "classes",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("project_id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_classes"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_classes_project_id", ondelete="CASCADE"),
        sa.UniqueConstraint("project_id", "name", name="uq_classes_project_id_name"),
    )
    op.create_table(
        "items",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("project_id", sa.String(32), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("split", sa.String(8)),
        sa.Column("split_given", sa.Boolean, nullable=False),
        sa.Column("excluded", sa.Boolean, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("added", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_items"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_items_project_id", ondelete="CASCADE"),
        sa.UniqueConstraint("project_id", "sha256", name="uq_items_project_id_sha256"),
    )
    op.create_index("ix_items_project_id_excluded_id", "items", ["project_id", "excluded", "id"])
    op.create_index("ix_items_project_id_excluded_split_id", "items", ["project_id", "excluded", "split", "id"])
    op.create_table(
        "annotations",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("item_id", sa.Integer, nullable=False),
        sa.Column("class_id", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("geometry", sa.JSON),
        sa.Column("by", sa.String(16), nullable=False),
        sa.Column("score", sa.Float),
        sa.Column("created", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_annotations"),
        sa.ForeignKeyConstraint(["item_id"], ["items.id"], name="fk_annotations_item_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["class_id"], ["classes.id"], name="fk_annotations_class_id", ondelete="CASCADE"),
    )
    op.create_index("ix_annotations_item_id_kind", "annotations", ["item_id", "kind"])
    op.create_index("ix_annotations_class_id_kind_item_id", "annotations", ["class_id", "kind", "item_id"])
    op.create_table(
        "versions",
        sa.Column("project_id", sa.String(32), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("pictures", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("project_id", "id", name="pk_versions"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_versions_project_id", ondelete="CASCADE"),
    )
