"""What the process counts about itself. Labels are names from our tables, never contents or ids."""

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Histogram(
    "http_request_seconds", "REST requests by handler, method and status", ["handler", "method", "status"]
)
DUTIES = Counter("duties_total", "Duties run, by kind and outcome", ["kind", "outcome"])
DUTY_SECONDS = Histogram("duty_seconds", "Time a duty took, by kind", ["kind"])
DUTIES_DEAD = Counter("duties_dead_total", "Duties left to a person, by kind", ["kind"])
SWEPT = Counter("deadlines_total", "Deadlines that came, by collection", ["collection"])
AUDIT_UNSEALED = Gauge("audit_unsealed_entries", "Entries of the audit trail that no block has yet, at the last look")
AUDIT_UNSEALED_AGE = Gauge(
    "audit_unsealed_age_seconds", "Age of the oldest act that is not sealed in the audit trail, at the last look"
)
AUDIT_BLOCKS = Counter("audit_blocks_total", "Blocks of the audit trail sealed by this process")
LOOP_LAG = Gauge("event_loop_lag_seconds", "How late the event loop woke up, last probe")
RECONCILIATION_DIFFERENCES = Counter(
    "reconciliation_differences_total", "Differences between our orders and the gateway's bill, by kind", ["kind"]
)
