"""Measured comparisons. Each prints progress and a table and can write `summary.json`; see `docs/bench.md`."""
