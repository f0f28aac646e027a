"""The WebRTC server: WHIP in, WHEP out, a page, sessions and their limits."""
