"""What both ends of a WebRTC connection need of aiortc: its patches, codecs and session descriptions."""
