"""Adapters to models: weights, MediaPipe, and the classical segmenter."""
