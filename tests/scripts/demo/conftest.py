"""Until all features are wired together, the hospital of `tests/core/partial.py`."""

from tests.core.partial import api as api
from tests.core.partial import caller as caller
from tests.core.partial import clock as clock
from tests.core.partial import ctx as ctx
from tests.core.partial import identity as identity
from tests.core.partial import indexed as indexed
from tests.core.partial import limiter as limiter
