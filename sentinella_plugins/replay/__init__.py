"""Calls that were made before, or are being made right now: `Idempotency-Key` and coalescing."""
