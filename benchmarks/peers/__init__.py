"""What a user would take instead of gest_stream, measured beside it: `python -m benchmarks.peers`.

`sam2_systems` and `sam2_transformers` need torch and sam2 and no more, as the benchmarks of the SAM2 engine do.
"""
