"""Benchmarks: data, samples, the run folder, the runner and the metrics they share."""
