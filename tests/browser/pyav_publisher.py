"""Publishes a rendered hand by FFmpeg's own WHIP muxer, until it is killed.

python -m tests.browser.pyav_publisher URL TOKEN
"""

from __future__ import annotations

import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from gest_stream.synthetic import ClipConfig, render_clip
from tests.rtc.certificate import self_signed

_RATE = 30


def publish(url: str, token: str) -> None:
    """Send a hand that stands still, with sound, in real time, for ever."""
    image = next(iter(render_clip(ClipConfig(size=(320, 240), frames=1)))).frame.image
    with tempfile.TemporaryDirectory() as folder:
        _, certificate = self_signed(Path(folder))  # of P-256; without one the muxer's DTLS handshake fails
        options = {
            "cert_file": str(certificate),
            "key_file": str(certificate.with_name("key.pem")),
            "authorization": token,
        }
        output = av.open(url, "w", format="whip", options=options)
        video = output.add_stream(
            "libx264", rate=_RATE, options={"preset": "ultrafast", "tune": "zerolatency", "bf": "0", "g": "30"}
        )
        video.width, video.height, video.pix_fmt = image.shape[1], image.shape[0], "yuv420p"
        audio = output.add_stream("libopus", rate=48_000)
        audio.layout = "stereo"
        begun, count, samples = time.monotonic(), 0, 0
        while True:
            frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = count, Fraction(1, _RATE)
            for packet in video.encode(frame):
                output.mux(packet)
            while samples < count * 48_000 // _RATE:
                sound = av.AudioFrame.from_ndarray(np.zeros((1, 960 * 2), np.int16), format="s16", layout="stereo")
                sound.sample_rate, sound.pts, sound.time_base = 48_000, samples, Fraction(1, 48_000)
                samples += 960
                for sound_packet in audio.encode(sound):
                    output.mux(sound_packet)
            count += 1
            time.sleep(max(0.0, begun + count / _RATE - time.monotonic()))


if __name__ == "__main__":
    publish(sys.argv[1], sys.argv[2])
