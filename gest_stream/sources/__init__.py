"""Async sources of frames: files, folders of images, cameras, network streams, pipes and rendered hands."""
