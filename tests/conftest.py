"""For every test: nothing is fetched from anywhere, and nothing of this machine's environment steers the
gateway."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterator

import pytest

os.environ |= {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "HF_HUB_OFFLINE": "1",
    "NO_PROXY": "127.0.0.1,localhost",
}


@pytest.fixture(scope="module")
def litellm_rubbish() -> Iterator[None]:
    """For modules that use LiteLLM in this process: what it leaves unclosed is collected at their end, not in
    the middle of another module's test."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()
