from prometheus_client import REGISTRY

from core import metrics

# Names from our tables; an id or a text here would make a series for each patient.
LABELS = {"handler", "method", "status", "kind", "outcome", "collection"}


def ours():
    return [one for one in vars(metrics).values() if hasattr(one, "_labelnames")]


def test_labels_are_names_from_our_tables():
    assert ours()
    assert {label for one in ours() for label in one._labelnames} <= LABELS


def test_everything_counted_is_registered_once_and_documented():
    names = [one._name for one in ours()]
    assert len(set(names)) == len(names)
    assert set(names) <= {found.name for found in REGISTRY.collect()}
    assert all(one._documentation for one in ours())
