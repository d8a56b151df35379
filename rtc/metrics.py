"""What is counted about calls. Labels are states, reasons and outcomes from our tables, never contents or ids."""

from prometheus_client import Counter, Gauge

STATES = Counter("rtc_states_total", "Calls that entered a state", ["state"])
ENDS = Counter("rtc_ends_total", "Calls that ended, by reason", ["reason"])
LEGS = Counter("rtc_leg_states_total", "Legs that came into a state", ["state"])
ROOMS = Gauge("rtc_rooms", "Calls whose media this process holds")
HEARTBEATS = Counter("rtc_heartbeats_total", "Heartbeats of this media process, by outcome", ["outcome"])
OFFERS = Counter("rtc_offers_total", "Offers by outcome", ["outcome"])
RELEASED = Counter("rtc_released_total", "Calls set free because their media process was lost or went")
RECORDER_FAULTS = Counter(
    "rtc_recorder_faults_total", "Recorders that broke and went on in a new segment, or could not begin"
)
INVITATIONS = Counter(
    "rtc_invitations_total",
    "Messages to absent patients, by channel and outcome",
    ["channel", "outcome"],
)
