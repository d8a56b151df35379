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
RECORDINGS = Counter("rtc_recordings_collected_total", "Recordings of rooms on their way to the store", ["outcome"])
FOLDERS_WAITING = Gauge("rtc_recording_folders_waiting", "Folders whose files are not in the store, at the last look")
FOLDERS_ORPHANED = Gauge("rtc_recording_folders_orphaned", "Folders of no call or without a manifest, at the last look")
FILMS = Counter("rtc_films_total", "Tries at composing a film of a call, by outcome", ["outcome"])
RECORDINGS_FAULTY = Gauge(
    "rtc_recordings_faulty", "Calls that were talked in whose recording is not whole, at the last reconciliation"
)
FILES_ORPHANED = Gauge("rtc_recording_files_orphaned", "Stored files that no call names, at the last reconciliation")
