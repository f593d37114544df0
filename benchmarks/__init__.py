"""Measure what the project promises, beside its peers, in interleaved rounds: ``python -m benchmarks``."""
