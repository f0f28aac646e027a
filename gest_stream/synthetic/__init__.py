"""Rendered hands with exact masks and landmarks."""
