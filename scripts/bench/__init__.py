"""Benchmarks: medians and ratios against a baseline in the same run. None of them is part of the tests."""
