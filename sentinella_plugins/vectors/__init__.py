"""The only package that knows embedding models and FAISS."""

from __future__ import annotations

from sentinella_plugins.vectors.config import VectorsConfig
from sentinella_plugins.vectors.encoder import LocalEncoder, Model
from sentinella_plugins.vectors.hashing import HashingModel
from sentinella_plugins.vectors.remote import Embed, RemoteEncoder

__all__ = ["LocalEncoder", "RemoteEncoder", "make_encoder", "open_encoder"]


async def open_encoder(config: VectorsConfig, embed: Embed | None = None) -> LocalEncoder | RemoteEncoder:
    """`embed` asks an embedding model, for the encoder `litellm`. Raises `SettingsError` when the model
    cannot be loaded."""
    encoder = make_encoder(config, embed)
    await encoder.open()
    return encoder


def make_encoder(config: VectorsConfig, embed: Embed | None = None) -> LocalEncoder | RemoteEncoder:
    """Not open yet."""
    return _remote(config, embed) if config.encoder == "litellm" else _local(config)


def _remote(config: VectorsConfig, embed: Embed | None) -> RemoteEncoder:
    if embed is None or config.model is None or config.dimensions is None:
        raise ValueError("the encoder `litellm` needs a model, its dimensions and a way to ask it")
    return RemoteEncoder(
        embed,
        config.model,
        config.dimensions,
        max_batch=config.max_batch,
        max_queue=config.max_queue,
        timeout_s=config.timeout_s,
        max_characters=config.max_characters,
        memo_bytes=config.memo_bytes,
    )


def _local(config: VectorsConfig) -> LocalEncoder:
    return LocalEncoder(
        lambda: _model(config),
        # MiniLM takes texts one by one: a batch would only hold back the first of them.
        max_batch=1 if config.encoder == "minilm" else config.max_batch,
        max_wait_s=config.max_wait_ms / 1000,
        max_queue=config.max_queue,
        timeout_s=config.timeout_s,
        memo_bytes=config.memo_bytes,
    )


def _model(config: VectorsConfig) -> Model:
    if config.encoder == "hashing":
        return HashingModel(max_characters=config.max_characters)
    if config.encoder == "sentence-transformers":
        from sentinella_plugins.vectors.sentence_transformers import SentenceTransformers

        return SentenceTransformers(
            str(config.model), threads=config.threads, max_characters=config.max_characters
        )
    from sentinella_plugins.vectors.minilm import MiniLM

    return MiniLM(threads=config.threads)
