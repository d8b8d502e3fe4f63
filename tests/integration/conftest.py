"""One gateway for all tests that do not need one of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sentinella_plugins.demo import Demo
from tests.gateway import Gateway, running_gateway

IMPATIENT = {"SENTINELLA_GATEWAY__BODY_TIMEOUT_S": "3"}


@pytest.fixture(scope="session")
def shared_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(tmp_path_factory.mktemp("gateway"), env=IMPATIENT) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared_gateway: Gateway) -> Gateway:
    shared_gateway.demo.clear()
    return shared_gateway


@pytest.fixture
def demo(gateway: Gateway) -> Demo:
    return gateway.demo
