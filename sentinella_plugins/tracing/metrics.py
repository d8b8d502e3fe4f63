"""Prometheus metrics, on a registry of their own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from sentinella_plugins.kernel.call import CacheMark, Call, Choice, Outcome, Recalled, Rendered
from sentinella_plugins.tracing.labels import Bounded

PREFIX = "sentinella_"
_SECONDS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)
_Labels = tuple[str, str, str, str, str, str, bool]


@dataclass(frozen=True, slots=True)
class _Series:
    """What one kind of call adds to, looked up once."""

    requests: Counter
    prompt: Counter
    completion: Counter
    cached: Counter
    cost: Counter
    seconds: Histogram
    first_token: Histogram


class Metrics:
    """`known` tells which model names are the gateway's own: they, and models that did answer, become labels.

    `ledger_spooled(bytes)` and `part_failed(part)` are for whoever sees these things happen.
    """

    def __init__(self, max_label_values: int, known: Callable[[str], bool] | None = None) -> None:
        self.registry = CollectorRegistry()
        self._known = known or (lambda _name: True)
        self._tenant, self._model, self._provider, self._code, self._route, self._part, self._template = (
            Bounded(max_label_values) for _ in range(7)
        )
        self._series: dict[_Labels, _Series] = {}
        self._refused: dict[tuple[str, str], Counter] = {}
        self._open: set[str] = set()
        self._declare()
        self._declare_rooms()

    def entered(self, call: Call) -> None:
        self._open.add(call.id)
        self._inflight.set(len(self._open))

    def left(self, call: Call, outcome: Outcome) -> None:
        if call.id in self._open:
            self._open.discard(call.id)
            self._inflight.set(len(self._open))
        if outcome.status == "refused":
            self._refuse(call, outcome)
        else:
            self._count(call, outcome)

    def part_failed(self, part: str) -> None:
        self._part_failures.labels(self._part(part)).inc()

    def fell_back(self, failed: str, model: str, code: str) -> None:
        self._fallbacks.labels(self._model(failed), self._model(model), self._code(code)).inc()

    def breaker(self, model: str, *, is_open: bool) -> None:
        self._breakers.labels(self._model(model)).set(is_open)

    def tool_ran(self, kind: str, outcome: str, seconds: float) -> None:
        self._tool_runs.labels(kind, self._code(outcome)).inc()
        self._tool_seconds.labels(kind).observe(seconds)

    def cache_lag(self, seconds: float) -> None:
        self._cache_lag.set(seconds)

    def cache_checked(self, ok: bool) -> None:
        self._cache_checks.labels("right" if ok else "wrong").inc()

    def session_summarised(self, kind: str) -> None:
        self._summaries.labels(kind).inc()

    def ledger_spooled(self, size: int) -> None:
        self._spooled.set(size)

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """The scrape of all workers and its content type. Blocking."""
        encode, content_type = choose_encoder(accept)
        merged = CollectorRegistry()
        merged.register(_Ours(self.registry))
        return encode(merged), content_type

    def names(self) -> list[str]:
        """Every metric, as Prometheus shows it."""
        families = self.registry.collect()
        return sorted(
            f"{family.name}_total" if family.type == "counter" else family.name for family in families
        )

    def _refuse(self, call: Call, outcome: Outcome) -> None:
        error = outcome.error
        labels = (self._tenant(call.principal.tenant), self._code(error.code if error else ""))
        counter = self._refused.get(labels)
        if counter is None:
            counter = self._refused[labels] = self._refusals.labels(*labels)
        counter.inc()

    def _count(self, call: Call, outcome: Outcome) -> None:
        if (mark := call.note(CacheMark)) is not None:
            self._mark(call, mark)
        if (choice := call.note(Choice)) is not None:
            self._choices.labels(self._model(choice.model), choice.reason).inc()
            self._decision_seconds.observe(choice.ms / 1_000)
        self._prepared(call)
        series = self._find(call, outcome)
        usage = outcome.usage
        series.requests.inc()
        series.seconds.observe(outcome.latency_ms / 1_000)
        if outcome.first_token_ms is not None:
            series.first_token.observe(outcome.first_token_ms / 1_000)
        for counter, amount in ((series.prompt, usage.prompt), (series.completion, usage.completion)):
            if amount > 0:
                counter.inc(amount)
        if usage.cached > 0:
            series.cached.inc(usage.cached)
        if outcome.cost > 0:
            series.cost.inc(outcome.cost / 1e9)

    def _prepared(self, call: Call) -> None:
        tenant = self._tenant(call.principal.tenant)
        if (recalled := call.note(Recalled)) is not None:
            self._session_calls.labels(tenant, str(recalled.summarised).lower()).inc()
            self._recalled.observe(recalled.messages)
        if (rendered := call.note(Rendered)) is not None:
            template = self._template(f"{rendered.template}@{rendered.version}")
            self._template_calls.labels(tenant, template).inc()

    def _mark(self, call: Call, mark: CacheMark) -> None:
        tenant = self._tenant(call.principal.tenant)
        self._cached.labels(tenant, mark.status, mark.kind or "", mark.reason or "").inc()
        if mark.saved > 0:
            self._saved.labels(tenant).inc(mark.saved / 1e9)

    def _find(self, call: Call, outcome: Outcome) -> _Series:
        labels = (
            self._tenant(call.principal.tenant),
            self._name(outcome),
            self._provider(outcome.provider),
            outcome.status,
            self._code(outcome.error.code if outcome.error else ""),
            self._route(call.route),
            call.stream,
        )
        return self._series.get(labels) or self._make(labels)

    def _name(self, outcome: Outcome) -> str:
        model = outcome.model
        if not model and outcome.attempts:
            model = outcome.attempts[-1].model
        shown = self._model(model, admit=False)
        if shown == "other" and (outcome.status == "success" or self._known(model)):
            shown = self._model(model)
        return shown

    def _make(self, labels: _Labels) -> _Series:
        tenant, model, provider, status, code, route, stream = labels
        series = self._series[labels] = _Series(
            requests=self._requests.labels(tenant, model, provider, status, code, route),
            prompt=self._tokens.labels(tenant, model, "prompt"),
            completion=self._tokens.labels(tenant, model, "completion"),
            cached=self._tokens.labels(tenant, model, "cached"),
            cost=self._cost.labels(tenant, model),
            seconds=self._seconds.labels(model, str(stream).lower()),
            first_token=self._first_token.labels(model),
        )
        return series

    def _declare(self) -> None:
        self._requests = self._counter(
            "requests_total", "Calls that ended.", "tenant", "model", "provider", "status", "code", "route"
        )
        self._refusals = self._counter(
            "refusals_total", "Calls turned away before any model was asked.", "tenant", "code"
        )
        self._tokens = self._counter("tokens_total", "Tokens used.", "tenant", "model", "kind")
        self._cost = self._counter("cost_usd_total", "US dollars spent.", "tenant", "model")
        self._part_failures = self._counter(
            "part_failures_total", "Calls that went on without a part.", "part"
        )
        self._fallbacks = self._counter(
            "fallbacks_total", "Calls that went on to another model.", "failed", "model", "code"
        )
        self._breakers = self._gauge("breaker_open", "1 while a model is left alone.", "max", "model")
        self._seconds = self._histogram(
            "request_seconds", "From request to end of answer.", "model", "stream"
        )
        self._first_token = self._histogram("first_token_seconds", "From request to first token.", "model")
        self._inflight = self._gauge("inflight", "Calls inside the gateway now.", "livesum")
        self._spooled = self._gauge(
            "ledger_spooled_bytes",
            "Ledger lines that wait on disk for the database, in bytes.",
            "livemostrecent",
        )

    def _declare_rooms(self) -> None:
        self._cached = self._counter(
            "cache_total", "What the cache did.", "tenant", "status", "kind", "reason"
        )
        self._saved = self._counter("cache_saved_usd_total", "US dollars that hits saved.", "tenant")
        self._choices = self._counter(
            "router_choices_total", "Models that the router chose.", "model", "reason"
        )
        self._decision_seconds = Histogram(
            PREFIX + "router_decision_seconds",
            "From features to choice, without the embedding.",
            buckets=(0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.1),
            registry=self.registry,
        )
        self._tool_runs = self._counter("tool_runs_total", "Tools run for a model.", "kind", "outcome")
        self._tool_seconds = self._histogram("tool_seconds", "Time of one tool.", "kind")
        self._session_calls = self._counter(
            "session_calls_total", "Calls with the history of a session.", "tenant", "summarised"
        )
        self._recalled = Histogram(
            PREFIX + "session_messages",
            "Messages of the history that a call got.",
            buckets=(0, 1, 2, 5, 10, 20, 50, 100, 200, 500),
            registry=self.registry,
        )
        self._summaries = self._counter("session_summaries_total", "Summaries of sessions.", "kind")
        self._template_calls = self._counter(
            "template_calls_total", "Calls made with a template.", "tenant", "template"
        )
        self._cache_checks = self._counter(
            "cache_checks_total", "Hits compared with a fresh answer.", "verdict"
        )
        self._cache_lag = self._gauge(
            "cache_lag_seconds", "Age of the oldest change of the cache not known here.", "livemax"
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(PREFIX + name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(PREFIX + name, text, labels, buckets=_SECONDS, registry=self.registry)

    def _gauge(self, name: str, text: str, mode: str, *labels: str) -> Gauge:
        return Gauge(PREFIX + name, text, labels, multiprocess_mode=mode, registry=self.registry)  # type: ignore[arg-type]


class _Ours(Collector):
    """Our metrics of all workers; their shared folder also holds LiteLLM's, which has its own scrape."""

    def __init__(self, own: CollectorRegistry) -> None:
        self._own = own

    def collect(self) -> Iterable[Metric]:
        for family in self._source().collect():
            if family.name.startswith(PREFIX):
                family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
                yield family

    def _source(self) -> Collector | CollectorRegistry:
        folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR", "")
        # The library decides at its import where values live, whatever the variable says later.
        if not values.ValueClass._multiprocess or not os.path.isdir(folder):
            return self._own
        return MultiProcessCollector(None, path=folder)  # type: ignore[no-untyped-call]
