"""What is counted of a stream, and what is asked for."""

from hypothesis import given
from hypothesis import strategies as st

from rtc.incoming import GIVE_UP_SECONDS, KEY_FRAME_SECONDS, LONGEST_GAP, RETRIES, RETRY_SECONDS, Incoming
from rtc.packets import Rtp


def packet(sequence, timestamp=0, payload=b"1234"):
    return Rtp(97, False, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, 7, payload, None)


def stream(kind="video"):
    return Incoming(kind, 7, {97: 90_000})


@given(st.integers(0, 0xFFFF), st.sets(st.integers(1, 400), max_size=60))
def test_the_report_tells_exactly_what_was_lost(first, lost):
    incoming = stream()
    for step in range(402):
        if step not in lost:
            incoming.take(packet(first + step), step / 100)
    report = incoming.report(5.0)
    assert report.packets_lost == len(lost)
    assert report.fraction_lost == min(255, (len(lost) << 8) // 402)
    assert report.highest_sequence == first + 401
    assert incoming.report(6.0).fraction_lost == 0


@given(st.integers(0, 0xFFFF), st.sets(st.integers(1, 98), min_size=1, max_size=20))
def test_what_is_missing_is_asked_for_until_it_came(first, lost):
    incoming = stream()
    for step in range(100):
        if step not in lost:
            incoming.take(packet(first + step), 0.0)
    names = {first + step & 0xFFFF for step in lost}
    assert set(incoming.to_ask_for(0.0)) == names
    assert incoming.to_ask_for(RETRY_SECONDS / 2) == []
    recovered = first + min(lost) & 0xFFFF
    assert incoming.recover(recovered)
    assert not incoming.recover(recovered)
    assert set(incoming.to_ask_for(RETRY_SECONDS)) == names - {recovered}


def test_a_packet_that_came_late_by_itself_is_not_asked_for():
    incoming = stream()
    assert not incoming.take(packet(1), 0.0)
    assert incoming.take(packet(3), 0.0)
    assert not incoming.take(packet(2), 0.0)
    assert not incoming.is_missing_packets


def test_asking_ends_after_some_tries_or_some_time():
    incoming = stream()
    incoming.take(packet(1), 0.0)
    incoming.take(packet(3), 0.0)
    asked = [incoming.to_ask_for(number * RETRY_SECONDS) for number in range(RETRIES + 5)]
    assert asked == [[2]] * RETRIES + [[]] * 5
    incoming.take(packet(5), 1.0)
    assert incoming.to_ask_for(1.0 + GIVE_UP_SECONDS + 0.1) == []
    assert not incoming.is_missing_packets


def test_nobody_asks_for_sound_or_for_what_a_break_swallowed():
    sound, picture = stream("audio"), stream()
    for incoming in (sound, picture):
        incoming.take(packet(1), 0.0)
    sound.take(packet(4), 0.0)
    picture.take(packet(3 + LONGEST_GAP), 0.0)
    assert not sound.is_missing_packets
    assert not picture.is_missing_packets


def test_key_frames_are_asked_for_at_intervals():
    incoming = stream()
    assert incoming.may_ask_key_frame(10.0)
    assert not incoming.may_ask_key_frame(10.0 + KEY_FRAME_SECONDS / 2)
    assert incoming.may_ask_key_frame(10.0 + KEY_FRAME_SECONDS)


def test_packets_that_come_evenly_have_no_jitter():
    incoming = stream()
    for number in range(50):
        incoming.take(packet(number, number * 3000), number / 30)
    assert incoming.jitter < 1e-6
    incoming.take(packet(50, 150_000), 50 / 30 + 0.016)
    assert round(incoming.jitter, 4) == 0.001


def test_the_report_refers_to_the_senders_last_report():
    incoming = stream()
    incoming.take(packet(1), 0.0)
    assert (incoming.report(1.0).lsr, incoming.report(1.0).dlsr) == (0, 0)
    incoming.sender_reported(0x1234_5678_9ABC_DEF0, 2.0)
    report = incoming.report(2.5)
    assert (report.lsr, report.dlsr) == (0x5678_9ABC, 0x8000)


def test_there_is_no_report_before_the_first_packet():
    assert stream().report(1.0) is None


def test_each_look_counts_what_came_since_the_last():
    incoming = stream()
    incoming.take(packet(1), 0.0)
    incoming.take(packet(3), 0.0)
    assert incoming.counted() == (3, 2, 8)
    incoming.take(packet(4), 0.0)
    assert incoming.counted() == (1, 1, 4)
