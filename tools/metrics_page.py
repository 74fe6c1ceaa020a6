"""docs/reference/metrics.md, from the declarations of the metrics."""

from collections.abc import Iterator

from letterlock.app.facts import FACTS
from letterlock.metrics.catalogue import FAMILIES, LIMITS
from letterlock.metrics.family import Family, Merge

INTRODUCTION = """\
# Metrics

`letterlock serve` answers Prometheus if you say where:

```toml
[metrics]
listen = "127.0.0.1:9725"    # or "unix:/run/letterlock/metrics.sock"
```

The metrics are at `/metrics`, as Prometheus text or OpenMetrics, whichever the client asks for. Only loopback addresses
and sockets are accepted, unless you also write `public = true`. A request must name the server by an address, by
`localhost`, by its `hostname`, or by one of `host_names`: otherwise a web page could read the metrics through the
browser of somebody on this machine (DNS rebinding). A scrape configuration for a Prometheus on the same machine:

```yaml
scrape_configs:
  - job_name: letterlock
    static_configs: [{targets: ["127.0.0.1:9725"]}]
```

[packaging/prometheus](../../packaging/prometheus) has alert rules, their tests, and a Grafana dashboard. The Debian
package puts them into /usr/share/letterlock/prometheus. Name `letterlock.rules.yml` under `rule_files` of Prometheus,
and import the dashboard into Grafana.

- **All workers together.** Any worker answers for all. Counters outlive a worker that ends; the last second before a
  crash is lost.
- **Bounded.** Labels have the values listed here and no others, so the number of series is fixed: no domain, address or
  user is ever a label. `letterlock queue stats` and the [log](logs.md) have those.
- **Cheap.** A message costs some additions; `[metrics] count = false` saves them too. Measure it with
  `python -m bench.observing`, which measures the log too, or with `python -m bench.counting`.
- **The queue** is counted every 15 seconds, more seldom if that takes long.
"""
COUNTED = "## What is counted and measured\n", "| metric | type | labels | meaning |\n| --- | --- | --- | --- |"
KNOWN = "\n## Facts\n", "| metric | labels | meaning |\n| --- | --- | --- |"
REACHED = (
    "\n## Limits\n",
    "The values of `limit` in `letterlock_limit_hits_total`:\n",
    "| limit | meaning |\n| --- | --- |",
)
REASONS = "any [reason code](reasons.md), `4.0` to `4.7`, `5.0` to `5.7`, `other`"


def metrics_page() -> str:
    """The page."""
    parts = [INTRODUCTION, *COUNTED, *(_row(each) for each in FAMILIES if not each.hidden)]
    parts += [*KNOWN, *(f"| `{name}` | {_codes(labels)} | {text} |" for name, (text, labels) in FACTS.items())]
    parts += [*REACHED, *(f"| `{name}` | {text} |" for name, text in LIMITS.items())]
    return "\n".join([*parts, ""])


def _row(family: Family) -> str:
    text = family.text if family.merge is Merge.SUM else f"{family.text} With several workers: {family.merge}."
    return f"| `{family.name}` | {family.kind} | {'; '.join(_labels(family))} | {text} |"


def _labels(family: Family) -> Iterator[str]:
    for name, values in family.labels:
        if name == "limit":
            yield "`limit`: see below"
        elif name == "reason":
            yield f"`reason`: {REASONS}" + (", `expired`" if "expired" in values else "")
        else:
            yield f"`{name}`: {_codes(values)}"
    if family.buckets:
        yield f"`le`: {_codes(tuple(f'{bound:g}' for bound in family.buckets))}"


def _codes(values: tuple[str, ...]) -> str:
    return ", ".join(f"`{value}`" for value in values)
