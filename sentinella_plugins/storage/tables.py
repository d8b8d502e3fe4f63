"""Every table of Sentinella; Alembic's migrations lead here. Times are Unix seconds, money nano-dollars."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

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

sessions = Table(
    "sessions",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("owner", String(64), primary_key=True),  # a key's id where each key has its own sessions
    Column("id", String(128), primary_key=True),  # the client's `session_id`
    Column("ref", String(64), nullable=False, unique=True),
    Column("version", Integer, nullable=False),  # changes with everything but `summarising_until`
    Column("turns", Integer, nullable=False),
    Column("messages", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("covered", BigInteger, nullable=False),  # the summary stands for messages up to this one
    Column("summary", Text),
    Column("summary_kind", String(16)),  # `model` or `extractive`
    Column("summary_tokens", Integer, nullable=False),
    Column("summarising_until", Double, nullable=False),
    Column("system", Text, nullable=False),  # JSON list of messages
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False, index=True),
    Index("ix_sessions_tenant_ref", "tenant", "ref"),
)

session_messages = Table(
    "session_messages",
    metadata,
    Column("ref", String(64), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("tenant", String(64), nullable=False),
    Column("turn", String(64), nullable=False),  # the call it came with
    Column("role", String(16), nullable=False),
    Column("body", Text, nullable=False),  # JSON
    Column("tokens", Integer, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("model", String(256)),
    Column("at", Double, nullable=False),
    Index("ix_session_messages_ref_turn", "ref", "turn"),
)

session_leases = Table(
    "session_leases",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("owner", String(64), primary_key=True),
    Column("id", String(128), primary_key=True),
    Column("holder", String(64), nullable=False),  # the call whose turn runs
    Column("until", Double, nullable=False, index=True),
)

session_facts = Table(
    "session_facts",
    metadata,
    Column("ref", String(64), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("tenant", String(64), nullable=False),
    Column("person", String(64), nullable=False),  # SHA-256 of the body's `user`
    Column("text", Text, nullable=False),
    Column("vector", LargeBinary, nullable=False),  # float32, little-endian
    Column("encoder", String(256), nullable=False),
    Column("at", Double, nullable=False),
    Index("ix_session_facts_tenant_person_at", "tenant", "person", "at"),
)

cache_entries = Table(
    "cache_entries",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("id", String(64), primary_key=True),
    Column("scope", String(64), nullable=False),  # SHA-256 of all but the last user turn
    Column("question", Text, nullable=False),
    Column("vector", LargeBinary, nullable=False),  # float16, little-endian
    Column("encoder", String(256), nullable=False),
    Column("body", LargeBinary, nullable=False),  # JSON
    Column("checksum", String(64), nullable=False),
    Column("model", String(256), nullable=False),
    Column("provider", String(64), nullable=False),
    Column("cost", BigInteger, nullable=False),
    Column("tags", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
    Column("last_used_at", Double, nullable=False),
    Index("ix_cache_entries_tenant_last_used_at", "tenant", "last_used_at"),
)

cache_log = Table(
    "cache_log",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("kind", String(8), nullable=False),  # `put` or `drop`
    Column("tenant", String(64), nullable=False),
    Column("entry", String(64), nullable=False),
    Column("scope", String(64), nullable=False),
    Column("at", Double, nullable=False),
    sqlite_autoincrement=True,  # a number is never given twice
)

cache_checks = Table(
    "cache_checks",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("entry", String(64), nullable=False),
    Column("score", Double, nullable=False),  # the verifier's, 0..1
    Column("ok", Integer, nullable=False),
    Column("weight", Double, nullable=False),  # hits that this one stands for; 0: it was not served
    Column("hits", Integer, nullable=False),  # hits since the worker's check before
    Column("at", Double, nullable=False),
    Index("ix_cache_checks_tenant_seq", "tenant", "seq"),
    sqlite_autoincrement=True,
)

cache_counts = Table(
    "cache_counts",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

router_decisions = Table(
    "router_decisions",
    metadata,
    Column("request_id", String(64), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("session", String(64)),  # SHA-256 of what the conversation is known by
    Column("model", String(256), nullable=False),  # the one that answered
    Column("predictor", String(128), nullable=False),  # whose features these are
    Column("features", LargeBinary, nullable=False),  # float32, little-endian
    Column("document", Text, nullable=False),  # JSON of the explanation
    Column("at", Double, nullable=False, index=True),
    Index("ix_router_decisions_tenant_session_at", "tenant", "session", "at"),
)

router_stats = Table(
    "router_stats",
    metadata,
    Column("model", String(256), primary_key=True),
    Column("task", String(64), primary_key=True),  # `*`: all of them
    Column("sums", LargeBinary, nullable=False),  # float64, little-endian; they fade with time
    Column("updated_at", Double, nullable=False),
)

router_observations = Table(
    "router_observations",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("id", String(192), primary_key=True),
    Column("model", String(256), nullable=False),
    Column("task", String(64), nullable=False),
    Column("source", String(16), nullable=False),  # `feedback`, `calibration` or `shadow`
    Column("score", Double, nullable=False),
    Column("comment", Text, nullable=False),
    Column("predictor", String(128), nullable=False),
    Column("features", LargeBinary, nullable=False),  # float32, little-endian
    Column("at", Double, nullable=False),
    Index("ix_router_observations_tenant_model_at", "tenant", "model", "at"),
)

router_profiles = Table(
    "router_profiles",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("model", String(256), primary_key=True),
    Column("predictor", String(128), nullable=False),
    Column("ability", LargeBinary, nullable=False),  # float32, little-endian
    Column("observations", Integer, nullable=False),
    Column("mean_score", Double, nullable=False),
    Column("updated_at", Double, nullable=False, index=True),
)

router_tallies = Table(
    "router_tallies",
    metadata,
    Column("kind", String(16), primary_key=True),  # `experiment` or `shadow`
    Column("name", String(256), primary_key=True),
    Column("arm", String(256), primary_key=True),
    Column("n", BigInteger, nullable=False),
    Column("total", Double, nullable=False),
    Column("squares", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
)

tools = Table(
    "tools",
    metadata,
    Column("tenant", String(64), ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("document", Text, nullable=False),  # JSON of the tool, without its secrets
    Column("sealed", Text),  # its secrets, encrypted
    Column("version", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
)

templates = Table(
    "templates",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(64), ForeignKey("tenants.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(128), nullable=False),
    Column("version", Integer, nullable=False),  # the newest
    Column("labels", Text, nullable=False),  # JSON: label → version → weight
    Column("file_digest", String(64)),  # SHA-256 of the file that was imported last
    Column("created_at", Double, nullable=False),
    UniqueConstraint("tenant", "name"),
)

template_versions = Table(
    "template_versions",
    metadata,
    Column("template", String(64), ForeignKey("templates.id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("tenant", String(64), nullable=False),
    Column("document", Text, nullable=False),  # JSON of its content
    Column("source", String(16), nullable=False),  # `api`, `file` or `rollback`
    Column("created_at", Double, nullable=False),
)

template_usage = Table(
    "template_usage",
    metadata,
    Column("template", String(64), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("tenant", String(64), nullable=False),
    Column("calls", BigInteger, nullable=False),
    Column("successes", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    Column("cached", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("cost_nano", BigInteger, nullable=False),
    Column("latency_ms", Double, nullable=False),  # sum over successes
    Column("ratings", BigInteger, nullable=False),
    Column("rating_sum", Double, nullable=False),
    Column("last_used_at", Double),
    ForeignKeyConstraint(
        ["template", "version"],
        ["template_versions.template", "template_versions.version"],
        ondelete="CASCADE",
    ),
)
