"""What the router chose, what came of it, and what it learned from that."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "router_decisions",
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("session", sa.String(length=64), nullable=True),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("predictor", sa.String(length=128), nullable=False),
        sa.Column("features", sa.LargeBinary(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_router_decisions")),
    )
    op.create_index(op.f("ix_router_decisions_at"), "router_decisions", ["at"], unique=False)
    op.create_index(
        "ix_router_decisions_tenant_session_at", "router_decisions", ["tenant", "session", "at"], unique=False
    )
    op.create_table(
        "router_stats",
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("task", sa.String(length=64), nullable=False),
        sa.Column("sums", sa.LargeBinary(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("model", "task", name=op.f("pk_router_stats")),
    )
    op.create_table(
        "router_observations",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=192), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("task", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("predictor", sa.String(length=128), nullable=False),
        sa.Column("features", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_router_observations")),
    )
    op.create_index(
        "ix_router_observations_tenant_model_at",
        "router_observations",
        ["tenant", "model", "at"],
        unique=False,
    )
    op.create_table(
        "router_profiles",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("predictor", sa.String(length=128), nullable=False),
        sa.Column("ability", sa.LargeBinary(), nullable=False),
        sa.Column("observations", sa.Integer(), nullable=False),
        sa.Column("mean_score", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "model", name=op.f("pk_router_profiles")),
    )
    op.create_index(op.f("ix_router_profiles_updated_at"), "router_profiles", ["updated_at"], unique=False)
    op.create_table(
        "router_tallies",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("arm", sa.String(length=256), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.Double(), nullable=False),
        sa.Column("squares", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", "arm", name=op.f("pk_router_tallies")),
    )


def downgrade() -> None:
    for name in (
        "router_tallies",
        "router_profiles",
        "router_observations",
        "router_stats",
        "router_decisions",
    ):
        op.drop_table(name)
