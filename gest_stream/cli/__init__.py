"""The command line: arguments become a config, the config becomes a pipeline."""
