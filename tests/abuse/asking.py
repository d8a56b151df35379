"""How hypothesis is run here: the same examples in every run, nothing kept, no time spent on making a failure small."""

from hypothesis import HealthCheck, Phase, settings

QUICKLY = settings(
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
