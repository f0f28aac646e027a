"""Makes benchmarks/RESULTS.md of the committed JSONs in benchmarks/results: `make results`."""
