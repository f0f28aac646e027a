"""Publishes a rendered hand by FFmpeg's own WHIP muxer, until it is killed.

python -m tests.browser.pyav_publisher URL TOKEN
"""

from __future__ import annotations

import datetime
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gest_stream.synthetic import ClipConfig, render_clip

_RATE = 30


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A P-256 certificate and its key; without one the muxer's DTLS handshake fails."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "cert.pem", folder / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file


def publish(url: str, token: str) -> None:
    """Send a hand that stands still, with sound, in real time, for ever."""
    image = next(iter(render_clip(ClipConfig(size=(320, 240), frames=1)))).frame.image
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = make_certificate(Path(folder))
        options = {"cert_file": str(certificate), "key_file": str(key), "authorization": token}
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
