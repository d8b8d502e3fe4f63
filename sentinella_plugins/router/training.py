"""Trains the predictor's artefact on prompts that many models have answered. It takes a few minutes, most of
them for embeddings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sentinella_plugins.router.prediction.artefact import ARTEFACT, save
from sentinella_plugins.router.prediction.kinds import KINDS, Kind, kind_of
from sentinella_plugins.router.prediction.names import billions, plain
from sentinella_plugins.router.prediction.reading import standardised
from sentinella_plugins.router.prediction.structure import NAMES, Structure, structure
from sentinella_plugins.router.rows import Encode, Row, matrix, read_rows
from sentinella_plugins.vectors.minilm import MiniLM

Floats = NDArray[np.float64]
AXES, WIDE_AXES = 64, 192
MOST_LANDMARKS = 3_000
_KERNEL_RIDGE = 0.5
_RIDGE = 300.0
_LOGITS_PER_SHARE = 5.0
_PLACE_SPREAD = 8.0
_CHARACTERS_PER_TOKEN = 4.0
_FEWEST_ROWS = 40
_LENGTH_SHARE = 0.2
# How much harder than the mean multiple-choice question the mean prompt of a kind is taken to be when no row
# of it was trained on, in logits.
_UNSEEN_BASE = {"choice": 0.0, "word_problem": -2.0, "code": -0.6, "math": 0.5, "other": -1.5}
# Public list prices of an answer, in USD per million tokens.
_PRICES = {
    "gpt-4o-2024-08-06": 10.0,
    "gpt-4o-mini-2024-07-18": 0.6,
    "gpt-3.5-turbo-0125": 1.5,
    "claude-3-haiku-20240307": 1.25,
    "claude-3-5-haiku-20241022": 4.0,
    "claude-3-opus-20240229": 75.0,
    "claude-3-5-sonnet-20241022": 15.0,
    "gemini-1.5-flash": 0.3,
    "gemini-1.5-pro": 5.0,
    "Mistral-Large-2": 6.0,
    "Meta-Llama-3.1-8B-Instruct": 0.1,
    "Meta-Llama-3.1-70B-Instruct": 0.8,
    "Mixtral-8x7B-Instruct-v0.1": 0.5,
    "gemma-2-9b-it": 0.2,
    "Qwen2-72B-Instruct": 0.9,
}


class TooLittleData(ValueError):
    """There is too little to learn from: give more rows, multiple-choice questions among them."""


@dataclass(frozen=True, slots=True, eq=False)
class _Data:
    rows: Sequence[Row]
    models: tuple[str, ...]
    scores: Floats
    kinds: NDArray[np.int64]
    groups: NDArray[np.str_]
    counts: Floats
    vectors: Floats
    seen: Sequence[Structure]


def train(
    files: Sequence[Path], out: Path = ARTEFACT, seed: int = 0, encode: Encode | None = None
) -> Mapping[str, object]:
    """Writes `weights.npz` and `card.json` into `out` and returns the card. The same rows and seed give
    the same bytes. Raises `ValueError` and `OSError`."""
    rows = [row for row in read_rows(files) if row.scores]
    if len(rows) < _FEWEST_ROWS:
        raise TooLittleData(f"{len(rows)} rows are too few to learn from: give {_FEWEST_ROWS} or more.")
    data = _data(rows, encode or MiniLM().encode)
    arrays, card = _learn(data, seed)
    save(out, arrays, data.models, card)
    return card


def _data(rows: Sequence[Row], encode: Encode) -> _Data:
    encodings = [encode([row.prompt])[0] for row in rows]
    seen = [structure(row.prompt, one.pieces) for row, one in zip(rows, encodings, strict=True)]
    models = tuple(sorted({model for row in rows for model in row.scores}))
    return _Data(
        rows=rows,
        models=models,
        scores=matrix(rows, models),
        kinds=np.array([KINDS.index(_kind(row, one)) for row, one in zip(rows, seen, strict=True)]),
        groups=np.array([row.task.split("/")[0] for row in rows]),
        counts=np.array([one.counts for one in seen]),
        vectors=np.array([one.vector for one in encodings], dtype=np.float64),
        seen=seen,
    )


def _kind(row: Row, seen: Structure) -> Kind:
    """Of known sets by their name: some of their prompts do not look like their kind."""
    for prefix, kind in (("gsm", "word_problem"), ("crux", "code"), ("math", "math"), ("mmlu", "choice")):
        if row.task.startswith(prefix):
            return kind  # type: ignore[return-value]
    return kind_of(seen)


def _learn(data: _Data, seed: int) -> tuple[dict[str, Floats], dict[str, object]]:
    choice = np.flatnonzero(data.kinds == KINDS.index("choice"))
    if len(choice) < _FEWEST_ROWS:
        raise TooLittleData(TooLittleData.__doc__)
    mean, scale = data.counts.mean(0), _scale(data.counts)
    arrays: dict[str, Floats] = {"structure_mean": mean, "structure_scale": scale}
    theta, by_kind, base = _abilities(data)
    arrays |= {"theta": theta, "theta_by_kind": by_kind, "kind_base": base, "length": _lengths(data)}
    arrays |= _kinds(data)
    arrays |= _prices(data.models, theta)
    arrays |= _kernel(data, choice, np.random.default_rng(seed))
    standard = standardised(data.counts[choice], mean, scale)
    calculating = _calculating(data, choice).astype(float)
    weights = _ridge(standard, calculating, _RIDGE)
    said = standard @ weights
    arrays["calculation"] = weights / max(float(said.std()), 1e-6)
    card: dict[str, object] = {
        "rows": len(data.rows),
        "groups": {str(group): int((data.groups == group).sum()) for group in np.unique(data.groups)},
        "seed": seed,
        "structure": list(NAMES),
        "data": "answers of public models, graded: MMLU-Pro (TIGER-AI-Lab); GSM8K, CRUXEval, MATH (ZeroEval)",
        "metrics": {"held_out_correlation": _held_out(arrays["landmarks"], arrays.pop("wrong"))},
        "licences": ["Apache-2.0", "MIT"],
    }
    return arrays, card


def _abilities(data: _Data) -> tuple[Floats, Floats, Floats]:
    """Logits of shares of right answers as ability minus difficulty of the kind; what is left over, halved,
    is the model's own strength in a kind."""
    logits = np.full((len(data.models), len(KINDS)), np.nan)
    for index in range(len(KINDS)):
        part = data.scores[data.kinds == index]
        asked = np.isfinite(part).sum(0)
        right = np.nansum(part, 0)
        logits[:, index] = np.where(asked > 0, np.log((right + 1) / (asked - right + 1)), np.nan)
    theta, base = np.zeros(len(data.models)), np.zeros(len(KINDS))
    trained = np.isfinite(logits).any(0)
    for _ in range(200):
        theta = np.nanmean(logits + base, axis=1)
        base[trained] = np.nanmean(theta[:, None] - logits[:, trained], axis=0)
        base -= base[0]
    left = np.nan_to_num(logits - theta[:, None] + base) * 0.5
    missing = {KINDS[index]: _UNSEEN_BASE[KINDS[index]] for index in np.flatnonzero(~trained)}
    for kind, value in missing.items():
        base[KINDS.index(kind)] = value
    return theta, left, base


def _lengths(data: _Data) -> Floats:
    """How much longer a model's answers are than those of the others, logarithm."""
    logs = np.log(np.maximum(matrix(data.rows, data.models, "output_chars"), 1.0))
    some = np.isfinite(logs).any(1)
    if not some.any():
        return np.zeros(len(data.models))
    around = logs[some] - np.nanmean(logs[some], axis=1, keepdims=True)
    count = np.isfinite(around).sum(0)
    return np.where(count > 0, np.nansum(around, 0) / np.maximum(count, 1), 0.0)


def _kinds(data: _Data) -> dict[str, Floats]:
    """Within each kind: how structure tells difficulty and the length of the answer. Longer answers mean more
    steps, and say more about difficulty than a few wrong answers among many right ones."""
    size, count = len(KINDS), len(NAMES)
    means, scales = np.tile(data.counts.mean(0), (size, 1)), np.tile(_scale(data.counts), (size, 1))
    hard, longer = np.zeros((size, count)), np.zeros((size, count))
    tokens = np.full(size, math.log(250.0))
    lengths = _mean_log_tokens(data)
    wrong = 1 - np.nanmean(data.scores, axis=1)
    for index, kind in enumerate(KINDS):
        of_kind = np.flatnonzero(data.kinds == index)
        if len(of_kind) < _FEWEST_ROWS:
            continue
        counts = data.counts[of_kind]
        means[index], scales[index] = counts.mean(0), _scale(counts)
        standard = standardised(counts, means[index], scales[index])
        answered = np.isfinite(lengths[of_kind])
        if answered.sum() >= _FEWEST_ROWS:
            longer[index] = _ridge(standard[answered], lengths[of_kind][answered], _RIDGE)
            tokens[index] = float(lengths[of_kind][answered].mean())
        hard[index] = _LOGITS_PER_SHARE * _ridge(standard, wrong[of_kind], 10 * _RIDGE)
        if kind == "word_problem" and longer[index].any():
            hard[index] = _steps(standard, longer[index], wrong[of_kind])
    return {
        "kind_mean": means,
        "kind_scale": scales,
        "kind_weights": hard,
        "tokens_weights": longer,
        "tokens_base": tokens,
    }


def _steps(standard: Floats, longer: Floats, wrong: Floats) -> Floats:
    """Difficulty in proportion to the foreseen length of the answer."""
    foreseen = standard @ longer
    slope = float(foreseen @ (wrong - wrong.mean())) / max(float(foreseen @ foreseen), 1e-9)
    return longer * max(slope * _LOGITS_PER_SHARE, 0.1)


def _mean_log_tokens(data: _Data) -> Floats:
    def one(row: Row) -> float:
        lengths = [max(1.0, length / _CHARACTERS_PER_TOKEN) for length in row.output_chars.values()]
        return float(np.mean(np.log(lengths))) if lengths else math.nan

    return np.array([one(row) for row in data.rows])


def _kernel(data: _Data, choice: NDArray[np.int64], random: np.random.Generator) -> dict[str, Floats]:
    """Difficulty for the weaker models, from questions that need no calculation: there it says most about
    where a stronger model helps."""
    plain_rows = choice[~_calculating(data, choice)]
    if len(plain_rows) < _FEWEST_ROWS:
        plain_rows = choice
    if len(plain_rows) > MOST_LANDMARKS:
        plain_rows = np.sort(random.choice(plain_rows, MOST_LANDMARKS, replace=False))
    vectors = data.vectors[plain_rows]
    mean = vectors.mean(0)
    _, _, axes = np.linalg.svd(vectors - mean, full_matrices=False)
    axes = axes[:AXES]
    places = (vectors - mean) @ axes.T
    wrong = 1 - _mean_of_weaker(data, plain_rows)
    dual = _dual(places, wrong)
    said = _kernel_of(places, places) @ dual
    return {
        "vector_mean": mean,
        "axes": axes.T,
        "landmarks": places,
        "wrong": wrong,
        "kernel": dual * _LOGITS_PER_SHARE,
        "length_weight": np.array(_LENGTH_SHARE * float(said.std()) * _LOGITS_PER_SHARE),
        **_wide(data, mean),
    }


def _kernel_of(some: Floats, others: Floats) -> Floats:
    norms = (some**2).sum(1)[:, None] + (others**2).sum(1)[None]
    return np.asarray(np.exp(2 * some @ others.T - norms))


def _dual(places: Floats, wrong: Floats) -> Floats:
    ridge = _KERNEL_RIDGE * np.eye(len(places))
    return np.asarray(np.linalg.solve(_kernel_of(places, places) + ridge, wrong - wrong.mean()))


def _held_out(places: Floats, wrong: Floats) -> float:
    """Correlation of foreseen and true difficulty on every fifth question, learned from the others."""
    held = np.arange(len(wrong)) % 5 == 0
    said = _kernel_of(places[held], places[~held]) @ _dual(places[~held], wrong[~held])
    return round(float(np.corrcoef(said, wrong[held])[0, 1]), 3)


def _wide(data: _Data, mean: Floats) -> dict[str, Floats]:
    """Axes that tell prompts of all kinds apart."""
    around = data.vectors - mean
    _, axes = np.linalg.eigh(around.T @ around)
    wide = axes[:, ::-1][:, :WIDE_AXES]
    spread = float(np.sqrt(((around @ wide) ** 2).sum(1).mean()))
    return {"wide_axes": wide, "place_scale": np.array(_PLACE_SPREAD / max(spread, 1e-6))}


def _mean_of_weaker(data: _Data, rows: NDArray[np.int64]) -> Floats:
    scores = data.scores[rows]
    asked = np.flatnonzero(np.isfinite(scores).mean(0) > 0.5)
    order = asked[np.argsort(np.nanmean(scores[:, asked], axis=0), kind="stable")]
    return np.asarray(np.nanmean(scores[:, order[: max(1, len(order) // 3)]], axis=1))


def _calculating(data: _Data, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    subjects = ("/math", "/physics", "/chemistry", "/engineering")
    return np.array([data.rows[row].task.endswith(subjects) for row in rows])


def _prices(models: Sequence[str], theta: Floats) -> dict[str, Floats]:
    prices = {plain(name): price for name, price in _PRICES.items()}
    priced = [
        (math.log10(prices[plain(name)]), value)
        for name, value in zip(models, theta, strict=True)
        if plain(name) in prices
    ]
    sized = [
        (math.log10(size), value)
        for name, value in zip(models, theta, strict=True)
        if (size := billions(name))
    ]
    return {"by_price": _line(priced, 0.8), "by_size": _line(sized, 1.0)}


def _line(points: Sequence[tuple[float, float]], slope: float) -> Floats:
    """Intercept and slope; a slope is assumed when there are too few points."""
    if len(points) < 5:
        return np.array([0.0, slope])
    at, value = np.array(points).T
    fitted = np.polyfit(at, value, 1)
    return np.array([fitted[1], max(float(fitted[0]), 0.2)])


def _scale(counts: Floats) -> Floats:
    scale = counts.std(0)
    return np.where(scale > 1e-6, scale, 1e6)


def _ridge(standard: Floats, target: Floats, strength: float) -> Floats:
    around = standard - standard.mean(0)
    gram = around.T @ around + strength * np.eye(standard.shape[1])
    return np.asarray(np.linalg.solve(gram, around.T @ (target - target.mean())))
