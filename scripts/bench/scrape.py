"""What a server counts about itself: histograms of its `/metrics`, and the quantiles of what came between two looks."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from prometheus_client.parser import text_string_to_metric_families

# Upper bound → how many were observed up to it, since the process began.
Buckets = Mapping[float, float]

_SCRAPE_SECONDS = 10.0


class NotCounted(Exception):
    """The server counts no such thing, or nothing came."""


async def exposition(host: str, port: int) -> str:
    """All that the process counts now, as text. NotCounted, or OSError when it cannot be asked.

    Over a bare connection and unread: an HTTP client's start and a reading of so much text would hold up for a tenth of
    a second each the load that the same process makes meanwhile.
    """
    async with asyncio.timeout(_SCRAPE_SECONDS):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(f"GET /metrics HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
            head, _, text = (await reader.read()).decode().partition("\r\n\r\n")
        finally:
            writer.close()
    status = head.split(" ", 2)[1:2]
    if status != ["200"]:
        raise NotCounted(f"the server tells no metrics: {' '.join(status) or 'nothing'}")
    return text


def buckets_of(text: str, name: str) -> Buckets:
    """The histogram without labels in a text of the exposition format. NotCounted when it is not there."""
    for family in text_string_to_metric_families(text):
        if family.name == name:
            return {float(one.labels["le"]): one.value for one in family.samples if one.name == f"{name}_bucket"}
    raise NotCounted(f"the server does not count {name}")


def quantile(before: Buckets, after: Buckets, share: float) -> float:
    """The value that `share` (0 to 1) of what came between did not exceed, as Prometheus reckons: by straight lines.

    Beyond the last bound it is that bound. NotCounted when nothing came.
    """
    bounds = sorted(after)
    counts = [after[bound] - before.get(bound, 0.0) for bound in bounds]
    if not counts or counts[-1] <= 0:
        raise NotCounted("nothing was observed")
    return _between([0.0, *bounds], [0.0, *counts], share * counts[-1])


def _between(bounds: Sequence[float], counts: Sequence[float], rank: float) -> float:
    for (low, high), (fewer, more) in zip(pairwise(bounds), pairwise(counts), strict=True):
        if more >= rank and more > fewer:
            return low if math.isinf(high) else low + (high - low) * (rank - fewer) / (more - fewer)
    return bounds[-1]
