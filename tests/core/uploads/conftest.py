"""The hospital with media only, as `tests/core/media` has it."""

from tests.core.media.conftest import (  # noqa: F401 -- pytest finds fixtures by their names here
    api,
    api_of,
    clock,
    ctx,
    doctor,
    indexed,
    limiter,
    patient,
    workshop,
)
