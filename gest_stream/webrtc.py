"""WebRTC for applications that have an aiortc of their own."""
