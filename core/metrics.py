"""What the process counts about itself. Labels are names from our tables, never contents or ids."""

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Histogram(
    "http_request_seconds", "REST requests by handler, method and status", ["handler", "method", "status"]
)
DUTIES = Counter("duties_total", "Duties run, by kind and outcome", ["kind", "outcome"])
DUTY_SECONDS = Histogram("duty_seconds", "Time a duty took, by kind", ["kind"])
DUTIES_DEAD = Counter("duties_dead_total", "Duties left to a person, by kind", ["kind"])
DUTIES_WAITING = Gauge("duties_waiting", "Duties not done yet, by kind, as the worker last counted", ["kind"])
DUTIES_LEFT = Gauge("duties_left_to_a_person", "Duties given up and not revived, by kind, as last counted", ["kind"])
DUTIES_LATE = Gauge(
    "duties_oldest_due_seconds",
    "How long the oldest duty has been due, by kind, as last counted",
    ["kind"],
)
SWEPT = Counter("deadlines_total", "Deadlines that came, by collection", ["collection"])
LOOP_LAG = Histogram(
    "event_loop_lag_seconds",
    "How late the event loop woke up, at every tick of a steady clock",
    buckets=(0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
RATE_LIMITED = Counter("rate_limited_total", "Calls refused because they came too often, by limit", ["limit"])
LOGINS = Counter("logins_total", "Steps of logging in, by method and outcome", ["method", "outcome"])
UPLOADS = Counter("media_uploads_total", "Uploads that have ended, by outcome", ["outcome"])
NOTIFICATIONS = Counter(
    "payment_notifications_total",
    "Notifications of the gateway, by subject and outcome",
    ["subject", "outcome"],
)
OUTSIDE = Histogram(
    "outside_call_seconds",
    "Calls of outside systems, by system, action and outcome",
    ["system", "action", "outcome"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
UNRECONCILED = Gauge("reconciliation_days_waiting", "Days whose bill is there and that nobody has compared yet")
NOTICES = Counter("notices_total", "Notices to those offline, by channel and outcome", ["channel", "outcome"])
RECONCILIATION_DIFFERENCES = Counter(
    "reconciliation_differences_total", "Differences between our orders and the gateway's bill, by kind", ["kind"]
)
