"""The storage suite runs on both drivers: leaving Motor is one setting, proven before it is needed."""

import pytest


@pytest.fixture(scope="module", params=["motor", "pymongo"])
def driver(request):
    return request.param
