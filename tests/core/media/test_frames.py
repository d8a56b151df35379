import pytest

from core.media.frames import LARGEST_HEADER, PREFIX_BYTES, Order, length_of, pack, unpack


def test_a_header_is_read_as_it_was_written():
    order = Order(type="jpeg", size=10, pixels=20)
    packed = pack(order)
    assert length_of(packed[:PREFIX_BYTES]) == len(packed) - PREFIX_BYTES
    assert unpack(packed[PREFIX_BYTES:]) == order


def test_a_length_that_no_header_has_is_refused():
    with pytest.raises(ValueError, match=str(LARGEST_HEADER + 1)):
        length_of((LARGEST_HEADER + 1).to_bytes(4, "big"))
