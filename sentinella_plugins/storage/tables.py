"""Every table of Sentinella; Alembic's migrations lead here. Times are Unix seconds, money nano-dollars."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Index, Integer, MetaData, String, Table, Text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

tenants = Table(
    "tenants",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("document", Text, nullable=False),  # JSON of the tenant
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(64), ForeignKey("tenants.id", ondelete="CASCADE"), nullable=False, index=True),
    Column(
        "hash", String(64), nullable=False, unique=True
    ),  # SHA-256 of the key; the key itself is kept nowhere
    Column("hint", String(32), nullable=False),
    Column("name", String(128), nullable=False),
    Column("role", String(16), nullable=False),
    Column("models", Text),  # JSON list of patterns, or null for all
    Column("limits", Text, nullable=False),  # JSON
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
    Column("replaces", String(64)),  # the key that this one was rotated from
    Column("last_used_at", Double),
)

ledger = Table(
    "ledger",
    metadata,
    Column("request_id", String(64), primary_key=True),  # idempotency: one line per call, for ever
    Column("at", Double, nullable=False),
    Column("tenant", String(64), nullable=False),
    Column("key_id", String(64), nullable=False),
    Column("route", String(64), nullable=False),
    Column("requested_model", String(256), nullable=False),
    Column("model", String(256), nullable=False),
    Column("provider", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("error_code", String(64)),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Column("cost_nano", BigInteger, nullable=False),
    Column("latency_ms", Double, nullable=False),
    Column("first_token_ms", Double),
    Column("stream", Integer, nullable=False),
    Column("cached", Integer, nullable=False),
    Column("attempts", Text, nullable=False),  # JSON list
    Column("session_id", String(128)),
    Index("ix_ledger_tenant_at", "tenant", "at"),
    Index("ix_ledger_at", "at"),
)

counters = Table(
    "counters",
    metadata,
    Column("key", String(256), primary_key=True),
    Column("value", BigInteger, nullable=False),
    Column("expires_at", Double, index=True),  # null: a gauge
)

reservations = Table(
    "reservations",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("owner", String(64), nullable=False, index=True),
    Column("claims", Text, nullable=False),  # JSON
    Column("memo", Text, nullable=False),  # JSON
    Column("created_at", Double, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("owner", String(64), primary_key=True),
    Column("until", Double, nullable=False),
)

breakers = Table(
    "breakers",
    metadata,
    Column("model", String(256), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("until", Double, nullable=False),
    Column("reason", String(64), nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("owner", String(64), nullable=False),  # the worker whose word this is
)

replays = Table(
    "replays",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("key", String(64), primary_key=True),  # SHA-256 of the `Idempotency-Key`
    Column("fingerprint", String(64), nullable=False),  # SHA-256 of the request it came with
    Column("state", String(16), nullable=False),  # `running` or `done`
    Column("owner", String(64), nullable=False),  # the id of the call that took the key
    Column("answer", Text),  # JSON
    Column("model", String(256), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),  # of a running one: the end of its lease
)
