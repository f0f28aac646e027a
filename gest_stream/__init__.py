"""Tracks hands in live video: landmarks, masks and measured latency, frame by frame."""
