"""What the patches of aiortc are worth: codecs, completing frames at the marker, and the cost of a packet.

    python -m benchmarks.webrtc_codecs [--clip FILE] [--frames 150] [--rounds 5] [--seconds 4] [--json out.json]

    encode, decode   `gest_stream.rtc` and aiortc's own codecs take turns, frame by frame, at 1.5 Mbit/s, which is all
                     that aiortc's VP8 encoder takes. CPU time is that of all threads.
    delay            from giving a picture to a sender to getting it from the receiver's track, over a connection on
                     loopback: 640x480, H264, 30 fps. A frame is complete with its marked packet, or as in aiortc.
    packet           CPU time of the event loop, which encodes and decodes nothing, over a connection at a low and at
                     a high bitrate: the difference for each packet more, which is sent and received by this process.

Pictures come from the clip of a camera beside the checkout where it is there, else they are rendered.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import aiortc.jitterbuffer
import aiortc.rtcrtpreceiver
import av
import numpy as np
from aiortc import MediaStreamTrack, RTCRtpSender
from aiortc.codecs import h264, vpx
from aiortc.codecs.base import Decoder, Encoder
from aiortc.jitterbuffer import JitterFrame
from numpy.typing import NDArray

from benchmarks.report import RESULTS, ROOT, conditions, write_result
from gest_stream.config import H264Encoder, RtcConfig
from gest_stream.rtc.clocks import ReceiverClock, SenderClock
from gest_stream.rtc.connection import RtcConnection, accept_answer, answer_offer, make_connection
from gest_stream.rtc.decoding import VideoDecoder
from gest_stream.rtc.encoding import RealtimeH264Encoder, RealtimeVp8Encoder
from gest_stream.sources.open import open_source

_SIZES = ((640, 480), (1280, 720))
_CLIP = ROOT.parent / "shared" / "clips" / "two_hands.mp4"
_FPS = 30
_STEP = 3000
_TIME_BASE = Fraction(1, 90_000)
_BITRATE = 1_500_000
_WARM_UP = 15
_LOW_KBPS, _HIGH_KBPS = 400, 4000
_CONFIG = RtcConfig(h264=H264Encoder.X264)
_ENCODERS: dict[str, dict[str, Callable[[], Encoder]]] = {
    "H264": {"ours": lambda: RealtimeH264Encoder(_CONFIG), "aiortc": h264.H264Encoder},
    "VP8": {"ours": lambda: RealtimeVp8Encoder(_CONFIG), "aiortc": vpx.Vp8Encoder},
}
_DECODERS: dict[str, dict[str, Callable[[], Decoder]]] = {
    "H264": {"ours": lambda: VideoDecoder("H264", _CONFIG.max_frame_px), "aiortc": h264.H264Decoder},
    "VP8": {"ours": lambda: VideoDecoder("VP8", _CONFIG.max_frame_px), "aiortc": vpx.Vp8Decoder},
}
_DEPAYLOAD = {"H264": h264.h264_depayload, "VP8": vpx.vp8_depayload}


async def pictures(source: str, count: int) -> list[NDArray[np.uint8]]:
    """The first pictures of a source, (H, W, 3) uint8 RGB."""
    found: list[NDArray[np.uint8]] = []
    async with open_source(source) as opened:
        async for frame in opened:
            found.append(frame.image)
            if len(found) == count:
                break
    return found


def video_frame(picture: NDArray[np.uint8], size: tuple[int, int]) -> av.VideoFrame:
    """A picture as an encoder gets it."""
    return av.VideoFrame.from_ndarray(picture, "rgb24").reformat(*size, format="yuv420p")


@dataclass
class Took:
    """Milliseconds of one case, a frame each."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count what the block takes."""
        wall, cpu = time.perf_counter_ns(), time.process_time_ns()
        yield
        self.cpu.append((time.process_time_ns() - cpu) / 1e6)
        self.wall.append((time.perf_counter_ns() - wall) / 1e6)

    def figures(self) -> dict[str, float]:
        """Medians without the first frames."""
        medians = {"cpu_ms": self.cpu, "wall_ms": self.wall}
        return {name: round(float(np.median(values[_WARM_UP:])), 2) for name, values in medians.items()}


def psnr_db(shown: av.VideoFrame, truth: av.VideoFrame) -> float:
    """Of the luma."""
    one, other = (frame.to_ndarray(format="gray").astype(np.float32) for frame in (shown, truth))
    return float(10 * np.log10(255**2 / max(float(np.square(one - other).mean()), 1e-9)))


def codec_figures(name: str, frames: Sequence[av.VideoFrame]) -> dict[str, Any]:
    """Both encoders over the frames, and both decoders over what our encoder made of them."""
    encoders = {case: make() for case, make in _ENCODERS[name].items()}
    decoders = {case: make() for case, make in _DECODERS[name].items()}
    judges = {case: _DECODERS[name]["ours"]() for case in encoders}
    encoding, decoding = {case: Took() for case in encoders}, {case: Took() for case in decoders}
    quality: dict[str, list[float]] = {case: [] for case in encoders}
    sizes = dict.fromkeys(encoders, 0)
    for encoder in encoders.values():
        cast(Any, encoder).target_bitrate = _BITRATE
    for number, frame in enumerate(frames):
        made = {}
        for case in sorted(encoders, reverse=number % 2 == 0):
            frame.pts, frame.time_base = number * _STEP, _TIME_BASE  # aiortc's H264 encoder changes them
            with encoding[case].timed():
                payloads, timestamp = encoders[case].encode(frame)
            data = b"".join(_DEPAYLOAD[name](payload) for payload in payloads)
            made[case] = JitterFrame(data, timestamp)
            sizes[case] += len(data)
        for case in sorted(decoders, reverse=number % 2 == 0):
            with decoding[case].timed():
                decoders[case].decode(made["ours"])
        for case, judge in judges.items():
            quality[case] += [psnr_db(cast(av.VideoFrame, shown), frame) for shown in judge.decode(made[case])]
    return {
        "encode": {
            case: {
                **encoding[case].figures(),
                "psnr_db": round(float(np.mean(quality[case])), 1),
                "kbps": round(sizes[case] * 8 / len(frames) * _FPS / 1000),
            }
            for case in encoders
        },
        "decode": {case: took.figures() for case, took in decoding.items()},
    }


class ClipTrack(MediaStreamTrack):
    """Frames over and over, at 30 a second.

    Args:
        frames: They get new pts.
    """

    kind = "video"

    def __init__(self, frames: Sequence[av.VideoFrame]) -> None:
        super().__init__()
        self._frames = frames
        self._start_s = 0.0
        self.given_s: list[float] = []
        """When each frame was given."""

    async def recv(self) -> av.VideoFrame:
        """The next frame, when it is due."""
        number = len(self.given_s)
        self._start_s = self._start_s or time.perf_counter()
        await asyncio.sleep(max(0.0, self._start_s + number / _FPS - time.perf_counter()))
        frame = self._frames[number % len(self._frames)]
        frame.pts, frame.time_base = number * _STEP, _TIME_BASE
        self.given_s.append(time.perf_counter())
        return frame


@asynccontextmanager
async def connected(config: RtcConfig, track: MediaStreamTrack) -> AsyncIterator[tuple[RtcConnection, RtcConnection]]:
    """A connection that sends the track as H264, and the one that gets it."""
    sender, receiver = make_connection(config), make_connection(config)
    try:
        transceiver = sender.addTransceiver(track, direction="sendonly")
        codecs = RTCRtpSender.getCapabilities("video").codecs
        transceiver.setCodecPreferences([codec for codec in codecs if codec.mimeType == "video/H264"])
        await sender.setLocalDescription(await sender.createOffer())
        await accept_answer(sender, await answer_offer(receiver, sender.localDescription.sdp, config))
        yield sender, receiver
    finally:
        await sender.close()
        await receiver.close()


async def delays_ms(frames: Sequence[av.VideoFrame], buffer: type[Any], seconds: float) -> list[float]:
    """Delay of each frame over a connection whose receiver has such a jitter buffer."""
    track = ClipTrack(frames)
    patched = vars(aiortc.rtcrtpreceiver)["JitterBuffer"]
    cast(Any, aiortc.rtcrtpreceiver).JitterBuffer = buffer
    try:
        async with connected(_CONFIG, track) as (sender, receiver):
            sent, got = SenderClock(sender.getSenders()[0]), ReceiverClock(receiver.getReceivers()[0])
            taken: list[tuple[int, float]] = []
            for _ in range(round(seconds * _FPS)):
                frame = await receiver.getReceivers()[0].track.recv()
                stamp = got.rtp_timestamp(cast(int, frame.pts))
                taken.append((cast(int, stamp), time.perf_counter()))
            origin = cast(int, sent.rtp_timestamp(0, _TIME_BASE))
    finally:
        cast(Any, aiortc.rtcrtpreceiver).JitterBuffer = patched
    return [(at - track.given_s[(stamp - origin) % 2**32 // _STEP]) * 1e3 for stamp, at in taken[_WARM_UP:]]


async def loop_load(frames: Sequence[av.VideoFrame], kbps: int, seconds: float) -> tuple[float, float]:
    """(CPU milliseconds of the event loop, packets), each a frame, over a connection at a bitrate."""
    config = RtcConfig((), kbps, kbps, kbps, 24, H264Encoder.X264)
    async with connected(config, ClipTrack(frames)) as (sender, receiver):
        track = receiver.getReceivers()[0].track
        for _ in range(_WARM_UP):
            await track.recv()
        cpu_ns, packets, count = time.thread_time_ns(), await _packets_sent(sender), round(seconds * _FPS)
        for _ in range(count):
            await track.recv()
        cpu_ms = (time.thread_time_ns() - cpu_ns) / 1e6
        return cpu_ms / count, (await _packets_sent(sender) - packets) / count


async def _packets_sent(sender: RtcConnection) -> int:
    reports = (await sender.getSenders()[0].getStats()).values()
    return sum(int(report.packetsSent) for report in reports if report.type == "outbound-rtp")


async def connection_figures(frames: Sequence[av.VideoFrame], rounds: int, seconds: float) -> dict[str, Any]:
    """The delay with both jitter buffers, and what a packet costs; the cases take turns."""
    make_connection(_CONFIG)  # the patches are applied from here on
    buffers = {"ours": vars(aiortc.rtcrtpreceiver)["JitterBuffer"], "aiortc": aiortc.jitterbuffer.JitterBuffer}
    delays: dict[str, list[list[float]]] = {case: [] for case in buffers}
    loads: dict[int, list[tuple[float, float]]] = {_LOW_KBPS: [], _HIGH_KBPS: []}
    for _ in range(rounds):
        for case, buffer in buffers.items():
            delays[case].append(await delays_ms(frames, buffer, seconds))
        for kbps, measured in loads.items():
            measured.append(await loop_load(frames, kbps, seconds))
    medians = {case: [float(np.median(values)) for values in measured] for case, measured in delays.items()}
    saved = [theirs - ours for theirs, ours in zip(medians["aiortc"], medians["ours"], strict=True)]
    pairs = zip(loads[_LOW_KBPS], loads[_HIGH_KBPS], strict=True)
    each = [(high[0] - low[0]) / (high[1] - low[1]) for low, high in pairs]
    return {
        "delay": {
            **{f"{case}_ms_by_round": [round(value, 1) for value in values] for case, values in medians.items()},
            "saved_ms": round(float(np.median(saved)), 1),
        },
        "packet": {
            "packets_a_frame": {
                f"{kbps} kbps": round(float(np.median([packets for _, packets in measured])), 1)
                for kbps, measured in loads.items()
            },
            "cpu_ms_by_round": [round(value, 3) for value in each],
            "cpu_ms": round(float(np.median(each)), 2),
        },
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, default=_CLIP if _CLIP.exists() else None)
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--json", type=Path, default=RESULTS / "webrtc_codecs.json")
    args = parser.parse_args()
    head = conditions()
    rendered = f"synthetic:easy,hands=2,frames={args.frames},size=1280x720"
    taken = asyncio.run(pictures(rendered if args.clip is None else str(args.clip), args.frames))
    sized = {size: [video_frame(picture, size) for picture in taken] for size in _SIZES}
    codecs = {
        name: {f"{width}x{height}": codec_figures(name, sized[width, height]) for width, height in _SIZES}
        for name in _ENCODERS
    }
    figures = {
        "pictures": rendered if args.clip is None else args.clip.name,
        "frames": len(taken),
        "bitrate_kbps": _BITRATE // 1000,
        "codecs": codecs,
        **asyncio.run(connection_figures(sized[_SIZES[0]], args.rounds, args.seconds)),
        "load_after": round(os.getloadavg()[0], 2),
    }
    write_result(args.json, "webrtc_codecs", figures, head)


if __name__ == "__main__":
    main()
