"""For every test: nothing is fetched from anywhere, and nothing of this machine's environment steers the
gateway."""

from __future__ import annotations

import os

os.environ |= {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "HF_HUB_OFFLINE": "1",
    "NO_PROXY": "127.0.0.1,localhost",
}
