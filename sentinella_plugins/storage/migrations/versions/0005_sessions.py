"""Conversations: sessions, their messages, whose turn it is, and what users said."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("ref", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("turns", sa.Integer(), nullable=False),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("covered", sa.BigInteger(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=True),
        sa.Column("summary_kind", sa.String(length=16), nullable=True),
        sa.Column("summary_tokens", sa.Integer(), nullable=False),
        sa.Column("summarising_until", sa.Double(), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "owner", "id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("ref", name=op.f("uq_sessions_ref")),
    )
    op.create_index("ix_sessions_tenant_ref", "sessions", ["tenant", "ref"], unique=False)
    op.create_index(op.f("ix_sessions_updated_at"), "sessions", ["updated_at"], unique=False)
    op.create_table(
        "session_messages",
        sa.Column("ref", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("turn", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=True),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("ref", "seq", name=op.f("pk_session_messages")),
    )
    op.create_index("ix_session_messages_ref_turn", "session_messages", ["ref", "turn"], unique=False)
    op.create_table(
        "session_leases",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "owner", "id", name=op.f("pk_session_leases")),
    )
    op.create_index(op.f("ix_session_leases_until"), "session_leases", ["until"], unique=False)
    op.create_table(
        "session_facts",
        sa.Column("ref", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.Column("encoder", sa.String(length=256), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("ref", "seq", name=op.f("pk_session_facts")),
    )
    op.create_index(
        "ix_session_facts_tenant_person_at", "session_facts", ["tenant", "person", "at"], unique=False
    )


def downgrade() -> None:
    for table in ("session_facts", "session_leases", "session_messages", "sessions"):
        op.drop_table(table)
