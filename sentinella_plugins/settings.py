"""The settings: YAML, then environment, checked once at start."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from sentinella_plugins.accounting.config import AccountingConfig
from sentinella_plugins.auth.config import AuthConfig
from sentinella_plugins.cache.config import CacheConfig
from sentinella_plugins.fallback.config import FallbackConfig
from sentinella_plugins.kernel.errors import SettingsError
from sentinella_plugins.memory.config import MemoryConfig
from sentinella_plugins.replay.config import ReplayConfig
from sentinella_plugins.router.config import RouterConfig
from sentinella_plugins.storage.config import StorageConfig
from sentinella_plugins.templates.config import TemplatesConfig
from sentinella_plugins.tenancy.config import TenancyConfig
from sentinella_plugins.tools.config import ToolsConfig
from sentinella_plugins.tracing.config import TracingConfig
from sentinella_plugins.vectors.config import VectorsConfig

PREFIX = "SENTINELLA_"
DEFAULT_FILE = Path("config/sentinella.yaml")


class GatewayConfig(BaseModel):
    """The door and the conductor."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_body_bytes: int = Field(
        default=20_000_000, ge=1_000, description="Largest request body; beyond it the answer is 413."
    )
    body_timeout_s: float = Field(
        default=30.0, gt=0, description="Longest wait for the rest of a request body, in seconds; then 408."
    )
    max_header_count: int = Field(
        default=200, ge=10, description="Most request headers; beyond it the answer is 431."
    )
    meter_wait_s: float = Field(
        default=5.0,
        ge=0,
        description="On LiteLLM's own routes: longest wait for the usage of an answer, in seconds; then "
        "the estimate counts.",
    )
    pipe: bool = Field(
        default=True,
        description="Ask upstreams that speak OpenAI's wire format without LiteLLM's wrappers, where no "
        "callback listens.",
    )
    max_connections: int = Field(
        default=1000, ge=1, le=100_000, description="Most connections of one worker to such upstreams."
    )
    extra_params: tuple[str, ...] = Field(
        default=(),
        description="Fields of a chat body, beyond OpenAI's and those of the known providers, that are "
        "passed on.",
    )


class TrafficConfig(BaseModel):
    """How many calls one worker takes, and how it ends."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_running: int = Field(default=1_000, ge=1, le=1_000_000, description="Most calls that run at once.")
    max_waiting: int = Field(
        default=2_000,
        ge=0,
        le=1_000_000,
        description="Most calls that wait for a place; then 503.",
    )
    max_waiting_per_tenant: int = Field(
        default=1_000,
        ge=0,
        le=1_000_000,
        description="Most of them of one tenant; tenants get places in turn.",
    )
    max_wait_s: float = Field(default=10.0, gt=0, description="Longest wait for a place, in s; then 503.")
    drain_s: float = Field(
        default=30.0,
        ge=0,
        description="After SIGTERM: how long running calls and streams may go on, in seconds; then they are "
        "broken off and settled.",
    )


class DemoConfig(BaseModel):
    """The upstream that stands in for providers whose key is not set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(
        default=True, description="Serve models without a provider key from the demo upstream."
    )
    brain: str = Field(
        default="auto",
        pattern="^(auto|canned|smollm2)$",
        description="`smollm2`: text of a real small model (extra `local`); `canned`; `auto`: the first "
        "that is there.",
    )
    url: str | None = Field(
        default=None,
        description="A demo upstream that runs already; by default one is started on a free port.",
    )


class Settings(BaseModel):
    """Every key of `config/sentinella.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_dir: Path = Field(
        default=Path(".sentinella"), description="Folder for everything kept on disk. `SENTINELLA_DATA_DIR`."
    )
    api_key: SecretStr | None = Field(
        default=None,
        description="Key of the built-in tenant `default`. `SENTINELLA_API_KEY`; made at the first start.",
    )
    metrics_key: SecretStr | None = Field(
        default=None,
        description="A key that may read `GET /metrics` and nothing else. `SENTINELLA_METRICS_KEY`.",
    )
    gateway: GatewayConfig = GatewayConfig()
    traffic: TrafficConfig = TrafficConfig()
    demo: DemoConfig = DemoConfig()
    storage: StorageConfig = StorageConfig()
    auth: AuthConfig = AuthConfig()
    tenancy: TenancyConfig = TenancyConfig()
    vectors: VectorsConfig = VectorsConfig()
    memory: MemoryConfig = MemoryConfig()
    tools: ToolsConfig = ToolsConfig()
    cache: CacheConfig = CacheConfig()
    router: RouterConfig = RouterConfig()
    fallback: FallbackConfig = FallbackConfig()
    replay: ReplayConfig = ReplayConfig()
    accounting: AccountingConfig = AccountingConfig()
    templates: TemplatesConfig = TemplatesConfig()
    tracing: TracingConfig = TracingConfig()


def load(
    file: Path | None = None, *, inline: Mapping[str, Any] | None = None, env: Mapping[str, str]
) -> Settings:
    """Settings from a YAML file (or an inline mapping), overridden by `env`. `SettingsError` names what is
    wrong."""
    values = dict(inline) if inline is not None else _read(file)
    for name, value in env.items():
        if name.startswith(PREFIX) and "__" in name:
            _put(values, name.removeprefix(PREFIX).lower().split("__"), yaml.safe_load(value))
    for field in ("data_dir", "api_key", "metrics_key"):
        if env.get(PREFIX + field.upper()):
            values[field] = env[PREFIX + field.upper()]
    storage = values["storage"] = dict(values.get("storage") or {})
    for field in ("database_url", "redis_url"):
        if not storage.get(field) and env.get(field.upper()):
            storage[field] = env[field.upper()]
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(item) for item in error.errors())) from None


def load_for_proxy(proxy_config: Path | None, env: Mapping[str, str]) -> Settings:
    """The settings that belong to a `proxy_config.yaml`.

    `SENTINELLA_CONFIG` names the file; else `general_settings.sentinella` of the proxy's YAML does, or holds
    the settings themselves; else `config/sentinella.yaml` beside it counts, if it exists.
    """
    folder = proxy_config.parent if proxy_config else Path.cwd()
    given = (_read(proxy_config).get("general_settings") or {}).get("sentinella")
    if env.get("SENTINELLA_CONFIG"):
        return load(Path(env["SENTINELLA_CONFIG"]), env=env)
    if isinstance(given, dict):
        return load(inline=given, env=env)
    file = folder / (given or DEFAULT_FILE)
    return load(file if given or file.exists() else None, env=env)


def _read(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        content = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise SettingsError(f"`{file}` cannot be read: {error}") from None
    if not isinstance(content, dict | None):
        raise SettingsError(f"`{file}` must hold a mapping")
    return content or {}


def _put(values: dict[str, Any], path: list[str], value: object) -> None:
    *parents, last = path
    for parent in parents:
        inner = values.get(parent)
        values[parent] = values = (
            dict(inner) if isinstance(inner, dict) else {}
        )  # copies: the caller's stay as they are
    values[last] = value


def _explain(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"])
    if item["type"] != "extra_forbidden":
        return f"`{where}`: {item['msg']}"
    near = difflib.get_close_matches(str(item["loc"][-1]), _known(item["loc"][:-1]), n=1, cutoff=0.5)
    return f"`{where}` is not a setting" + (f"; did you mean `{near[0]}`?" if near else "")


def _known(path: tuple[str | int, ...]) -> list[str]:
    model: type[BaseModel] = Settings
    for part in path:
        inner = model.model_fields[str(part)].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return list(model.model_fields)
