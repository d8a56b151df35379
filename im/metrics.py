"""What the chat counts about itself. Labels are ops, events, outcomes and close codes from our tables."""

from prometheus_client import Counter, Gauge, Histogram

SOCKETS = Gauge("chat_sockets", "Authenticated sockets open in this process")
FRAMES = Counter("chat_frames_total", "Frames by direction", ["direction"])
FRAMES_IN = FRAMES.labels("in")
FRAMES_OUT = FRAMES.labels("out")
REQUESTS = Counter("chat_requests_total", "Requests on sockets by op and outcome", ["op", "outcome"])
ACKS = Counter("chat_acks_total", "Messages acknowledged, by whether they had been stored before", ["dup"])
ACKS_FIRST = ACKS.labels("no")
ACKS_AGAIN = ACKS.labels("yes")
CLOSES = Counter("chat_closes_total", "Sockets closed by us, by close code", ["code"])
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 200)
BATCH = Histogram("chat_journal_batch", "Messages in one flush of the journal", buckets=_SIZES)
WAIT = Histogram(
    "chat_journal_wait_seconds",
    "Age of the oldest message of a flush when its write returned",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5, 15),
)
QUEUE = Gauge("chat_journal_queue", "Messages waiting for the journal")
OUTGOING = Histogram(
    "chat_outgoing_frames",
    "Frames that wait for a socket's reader, seen once a heartbeat",
    buckets=(0, 1, 16, 64, 256),
)
RETRIES = Counter("chat_journal_retries_total", "Messages that needed another write, by reason", ["reason"])

_counted: dict[tuple[str, str], Counter] = {}


def count(op: str, outcome: str) -> None:
    """Count one request; the labels' look-up is remembered, it costs more than the counting."""
    counter = _counted.get((op, outcome))
    if counter is None:
        counter = _counted[op, outcome] = REQUESTS.labels(op, outcome)
    counter.inc()
