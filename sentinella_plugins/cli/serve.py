"""`sentinella serve`: LiteLLM's proxy with Sentinella in it, set up for this machine."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import typer
from dotenv import load_dotenv

from sentinella_plugins.settings import load_for_proxy

DEFAULT_CONFIG = Path("proxy_config.yaml")


def serve(port: int | None, host: str, workers: int, config: Path | None) -> None:
    """Becomes the proxy's process. Its workers print the address and, at the first start, the keys."""
    load_dotenv()
    config = (config or DEFAULT_CONFIG).resolve()
    if not config.exists():
        raise typer.BadParameter(
            f"`{config}` does not exist: run this in the project's folder or pass --config"
        )
    settings = load_for_proxy(config, os.environ)
    port = port or int(os.environ.get("SENTINELLA_PORT", "8000"))
    shown = f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}"  # noqa: S104  # compared, not bound
    environment = {
        **os.environ,
        "SENTINELLA_ANNOUNCE": shown,
        "SENTINELLA_SERVE_ID": f"{os.getpid()}",
        "LITELLM_LOCAL_MODEL_COST_MAP": os.environ.get("LITELLM_LOCAL_MODEL_COST_MAP", "True"),
    }
    if workers > 1 and "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        environment["PROMETHEUS_MULTIPROC_DIR"] = str(_empty(settings.data_dir / "metrics"))
    litellm = str(Path(sys.executable).with_name("litellm"))
    command = [
        litellm,
        "--config",
        str(config),
        "--host",
        host,
        "--port",
        str(port),
        "--num_workers",
        str(workers),
    ]
    # uvicorn gives a worker 5 s to answer; on a busy machine importing LiteLLM takes longer.
    command += ["--timeout_worker_healthcheck", "120"] if workers > 1 else []
    os.execve(litellm, command, environment)  # noqa: S606  # our own interpreter's script


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
