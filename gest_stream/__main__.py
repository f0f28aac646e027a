"""`python -m gest_stream` is the `gest-stream` command."""

from gest_stream.cli.main import main

main()
