"""Measures of what the project promises: `python -m benchmarks`, or `python -m benchmarks.features` for one of them."""
