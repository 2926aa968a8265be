"""Benchmarks: each prints a table and writes JSON. They run from a clone and are not part of the wheel."""
