"""The gateway as its users run it: LiteLLM's proxy process with Sentinella in it, on a free loopback port."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
import yaml

from sentinella_plugins.demo import Demo, running_demo
from sentinella_plugins.kernel.secrets import new_key
from tests.servers import free_port, wait_until

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "proxy_config.yaml"
START_S = 150.0
STOP_S = 20.0
CACHING = {"SENTINELLA_CACHE__ENABLED": "true"}
"""Most tests ask the same question again and again and want it answered by a model each time."""
METERED: dict[str, dict[str, Any]] = {
    "/v1/completions": {"model": "gpt-4o-mini", "prompt": "Hi"},
    "/v1/embeddings": {"model": "text-embedding-3-small", "input": "Hi"},
    "/v1/responses": {"model": "gpt-4o-mini", "input": "Hi"},
    "/v1/messages": {
        "model": "claude-haiku-5-5",
        "max_tokens": 20,
        "messages": [{"role": "user", "content": "Hi"}],
    },
}
"""A body for each route that LiteLLM answers itself."""
_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR")


@dataclass(frozen=True)
class Key:
    """Of a tenant."""

    id: str
    key: str
    tenant: str

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"}


class Proxy:
    """A LiteLLM proxy process and all that it starts: one process group, which never outlives this one."""

    def __init__(
        self, folder: Path, *, config: Path, workers: int = 1, env: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.workers = workers
        self._config = config
        self._env = dict(env or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._started_in_log = 0

    def start(self) -> None:
        """Returns when every worker answers."""
        self._started_in_log = len(self.log())
        command = [str(Path(sys.executable).with_name("litellm")), "--config", str(self._config)]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        if self.workers > 1:
            command += ["--num_workers", str(self.workers), "--timeout_worker_healthcheck", "120"]
        base = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        base |= {"PYTHONPATH": str(ROOT), "LITELLM_LOCAL_MODEL_COST_MAP": "True", "HF_HUB_OFFLINE": "1"}
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=base | self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        # Ends the group when this process is killed and cannot do it itself.
        script = f"read -r _; kill -9 -- -{self._process.pid}"
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", script],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_until(self._ready, START_S)

    def stop(self) -> None:
        """Like an operator: asks first."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_S)
        self.kill9()

    def kill9(self) -> None:
        """The whole group at once."""
        process, self._process = self._process, None
        watchdog, self._watchdog = self._watchdog, None
        if watchdog is not None:
            watchdog.kill()
            watchdog.wait()
            if watchdog.stdin is not None:
                watchdog.stdin.close()
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def worker_pids(self) -> list[int]:
        assert self._process is not None
        if self.workers == 1:
            return [self._process.pid]
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def log(self) -> str:
        return self._log_file.read_text(errors="replace") if self._log_file.exists() else ""

    def healthy(self) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/health/liveliness", timeout=5, trust_env=False).status_code == 200
        return False

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def _log_file(self) -> Path:
        return self.folder / "gateway.log"

    def _ready(self) -> bool:
        log = self.log()[self._started_in_log :]
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"the proxy ended at once:\n{log[-4000:]}")
        return log.count("Application startup complete.") >= self.workers and self.healthy()


class Gateway(Proxy):
    """`folder` keeps configuration, data and log; `.demo` is the upstream, whose life belongs to the
    caller."""

    def __init__(
        self,
        folder: Path,
        demo: Demo,
        *,
        workers: int = 1,
        env: Mapping[str, str] | None = None,
        yaml_changes: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.demo = demo
        self.master_key, self.api_key = new_key(), new_key()
        self.data = folder / "data"
        own = {
            "SENTINELLA_DATA_DIR": str(self.data),
            "SENTINELLA_API_KEY": self.api_key,
            "LITELLM_MASTER_KEY": self.master_key,
            "SENTINELLA_DEMO__URL": demo.url,
            "SENTINELLA_CACHE__ENABLED": "false",
            **(env or {}),
        }
        config = SHIPPED if yaml_changes is None else extended(folder, yaml_changes)
        super().__init__(folder, config=config, workers=workers, env=own)
        self.admin = httpx.Client(
            base_url=self.url,
            headers={"authorization": f"Bearer {self.master_key}"},
            timeout=30,
            trust_env=False,
        )
        self.default = Key("default", self.api_key, "default")
        self._secrets = [self.master_key, self.api_key]
        self._tenants = 0

    def __exit__(self, *_: object) -> None:
        self.admin.close()
        self.stop()
        self.check_secrets()

    def check_secrets(self) -> None:
        """No key in the log nor in anything that was kept, whatever the tests did."""
        files = [self._log_file, *(path for path in self.data.rglob("*") if path.is_file())]
        for file in files:
            content = file.read_bytes()
            for secret in self._secrets:
                assert secret.encode() not in content, f"a key is in `{file}`"

    def healthy(self) -> bool:
        with suppress(httpx.HTTPError):
            answer = httpx.get(f"{self.url}/health", timeout=30, trust_env=False)
            return answer.status_code == 200 and answer.json()["status"] == "healthy"
        return False

    def tenant(self, name: str = "acme", *, models: Sequence[str] | None = None, **limits: object) -> Key:
        """A new tenant with these limits, and its key."""
        self._tenants += 1
        tenant = f"{name}-{self._tenants}"
        body = {"id": tenant, "limits": limits, "models": models}
        self.admin.post("/v1/tenants", json=body).raise_for_status()
        return self.key(tenant)

    def key(self, tenant: str, **fields: object) -> Key:
        answer = self.admin.post(f"/v1/tenants/{tenant}/keys", json={"name": "test", **fields})
        made = answer.raise_for_status().json()
        self._secrets.append(made["key"])
        return Key(made["id"], made["key"], tenant)

    def client(self, key: Key | None = None) -> httpx.Client:
        headers = (key or self.default).headers
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    def calls(self, key: Key) -> list[dict[str, Any]]:
        """The ledger lines of a tenant, oldest first."""
        lines: list[dict[str, Any]] = []
        while True:
            after = {"after": lines[-1]["id"]} if lines else {}
            query = {"tenant": key.tenant, "limit": "1000", **after}
            page = self.admin.get("/v1/usage/calls", params=query).raise_for_status().json()
            lines += page["data"]
            if not page["has_more"]:
                return lines[::-1]

    def sql(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Reads the SQLite file."""
        file = f"file:{self.data / 'sentinella.db'}?mode=ro"
        with closing(sqlite3.connect(file, uri=True, timeout=10)) as connection:
            return connection.execute(query, values).fetchall()

    def held(self, tenant: str | None = None) -> list[tuple[Any, ...]]:
        """Reservations that are open, of one tenant or of all."""
        found = self.sql("SELECT id, memo FROM reservations")
        return [row for row in found if tenant is None or f'"tenant": "{tenant}"' in row[1]]


@contextmanager
def running_gateway(folder: Path, **options: Any) -> Iterator[Gateway]:
    """A gateway with a demo upstream of its own."""
    with running_demo() as demo, Gateway(folder, demo, **options) as gateway:
        yield gateway


def extended(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The shipped `proxy_config.yaml`, changed, in a folder where other people's modules can lie beside
    it."""
    config = yaml.safe_load(SHIPPED.read_text())
    config["general_settings"]["sentinella"] = {}
    change(config)
    file = folder / "proxy_config.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    return file


def question(
    text: str = "Say something.", model: str | None = "gpt-4o-mini", **fields: object
) -> dict[str, Any]:
    """A chat body."""
    body = {"messages": [{"role": "user", "content": text}], **fields}
    return body if model is None else {"model": model, **body}


def room_in_minute(seconds: float = 20) -> None:
    """Waits for the next minute when this one is nearly over: its windows begin anew there."""
    left = 60 - time.time() % 60
    if left < seconds:
        time.sleep(left + 0.05)


def events(lines: Iterable[str]) -> list[str]:
    """The data of an event stream."""
    return [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
