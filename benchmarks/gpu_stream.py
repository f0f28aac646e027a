"""SAM2 on a stream from picture to finished picture: stage by stage, and with encoding one frame ahead.

    python -m benchmarks.gpu_stream [--device cuda] [--model tiny:1024] [--objects 2] [--json out.json]

Two passes over the same frames take turns. In `serial` a frame is brought to the device and encoded, then stepped, its
masks fetched, then drawn, each stage timed to its end. In `ahead` a thread of its own encodes the next frame while this
one is stepped and drawn, as the pipeline does; `ahead_over_serial` is how many times as many frames that gives.
Drawing is measured on the host and on the device (`effect.device`), for each effect that both know. Where PyAV is, a
clip is decoded with and without NVDEC, and encoded with and without NVENC.

It needs torch, sam2 and OpenCV. Weights are seeded: time does not depend on what they are.
"""

from __future__ import annotations

import argparse
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.report import RESULTS, conditions, write_result
from benchmarks.sam2_clip import Clip, Model, make_clip, make_engine
from benchmarks.sam2_timing import percentiles
from gest_stream.config import EffectConfig, EffectKind, Precision, Sam2Runner, Sam2Size
from gest_stream.models.sam2_engine import Sam2Engine
from gest_stream.models.sam2_masks import to_hand_masks
from gest_stream.overlay import Renderer
from gest_stream.types import Frame, FrameResult, Handedness, HandMask, MaskSource, Prompt, Track, TrackState

_WARM_UP: Final = 10
_EFFECTS: Final = (EffectKind.OVERLAY, EffectKind.GREEN, EffectKind.BLUR)


class Stream:
    """An engine and what is played to it.

    Args:
        engine: It starts anew with every pass.
        clip: Played in a loop.
        device: Where the engine computes.
    """

    def __init__(self, engine: Sam2Engine, clip: Clip, device: str) -> None:
        self._engine, self._clip = engine, clip
        self._cuda = device.startswith("cuda")
        self._draw = Renderer(EffectConfig(labels=False, device=device)).render

    def wait(self) -> None:
        """Until the device has done everything."""
        if self._cuda:
            torch.cuda.synchronize()

    def masks(self, encoded: Any, prompts: dict[int, Prompt]) -> dict[int, HandMask]:
        """Masks in memory."""
        return to_hand_masks(self._engine.step(encoded, prompts), non_overlap=True)

    def serial(self, frames: int) -> tuple[float, dict[str, list[float]]]:
        """(frames a second, stage times in ms) of one frame after the other."""
        self._engine.reset()
        times: dict[str, list[float]] = {"encode": [], "step": [], "draw": []}

        def timed(stage: str, work: Callable[[], Any]) -> Any:
            began = time.perf_counter()
            done = work()
            self.wait()
            times[stage].append(1e3 * (time.perf_counter() - began))
            return done

        began = time.perf_counter()
        for number in range(frames):
            image = self._clip.image(number)
            prompts = self._clip.prompts() if number == 0 else {}
            encoded = timed("encode", partial(self._engine.encode, image))
            masks = timed("step", partial(self.masks, encoded, prompts))
            timed("draw", partial(self._draw, result_of(image, masks)))
        return frames / (time.perf_counter() - began), times

    def ahead(self, frames: int) -> float:
        """Frames a second with encoding one frame ahead."""
        self._engine.reset()
        encoded: queue.Queue[Any] = queue.Queue(maxsize=1)

        def encode() -> None:
            for number in range(frames):
                encoded.put(self._engine.encode(self._clip.image(number)))

        thread = threading.Thread(target=encode)
        began = time.perf_counter()
        thread.start()
        for number in range(frames):
            masks = self.masks(encoded.get(), self._clip.prompts() if number == 0 else {})
            self._draw(result_of(self._clip.image(number), masks))
        thread.join()
        self.wait()
        return frames / (time.perf_counter() - began)


def result_of(image: NDArray[np.uint8], masks: dict[int, HandMask]) -> FrameResult:
    """A result with those masks."""
    tracks = tuple(
        Track(object_id, TrackState.TRACKED, Handedness.RIGHT, 1.0, None, mask) for object_id, mask in masks.items()
    )
    return FrameResult(Frame(image, 0, Fraction(1, 30), 0), tracks)


def drawing(clip: Clip, device: str, frames: int) -> dict[str, Any]:
    """Each effect on the host and on the device, taking turns; milliseconds a frame, until the picture is in memory."""
    width, height = clip.frame_size
    hands = {}
    for object_id, (left, top, right, bottom) in clip.boxes.items():
        y, x = np.mgrid[0:height, 0:width]
        across, down = (x - (left + right) / 2) / (right - left), (y - (top + bottom) / 2) / (bottom - top)
        alpha = np.where(across**2 + down**2 < 0.25, 255, 0).astype(np.uint8)
        hands[object_id] = HandMask.from_full(alpha, 1.0, MaskSource.SCRIPTED)
    found = {}
    for kind in _EFFECTS:
        draw = {place: Renderer(EffectConfig(kind, labels=False, device=place)).render for place in ("cpu", device)}
        times: dict[str, list[float]] = {place: [] for place in draw}
        for number in range(frames + _WARM_UP):
            result = result_of(clip.image(number), hands)
            for place, render in draw.items():
                began = time.perf_counter()
                render(result)
                if number >= _WARM_UP:
                    times[place].append(1e3 * (time.perf_counter() - began))
        host, there = (percentiles(times[place]) for place in ("cpu", device))
        found[str(kind)] = {
            "host_ms": host,
            "device_ms": there,
            "host_over_device": round(float(np.median(times["cpu"]) / np.median(times[device])), 3),
        }
    return found


def video_engines(clip: Clip, frames: int) -> dict[str, Any]:
    """Milliseconds a frame to decode and to encode, with and without NVIDIA's engines; why not, where they are not."""
    try:
        import av
    except ImportError:
        return {"left_out": "PyAV is not installed"}
    from gest_stream.hwcodec import cuda_decoding, nvenc_works

    width, height = clip.frame_size
    encoders = ["libx264", *(["h264_nvenc"] if nvenc_works() else [])]
    found: dict[str, Any] = {"nvenc": nvenc_works(), "nvdec": cuda_decoding() is not None, "av": av.__version__}
    with tempfile.TemporaryDirectory() as folder:
        for name in encoders:
            path = Path(folder) / f"{name}.mp4"
            began = time.perf_counter()
            with av.open(str(path), "w") as written:
                stream: Any = written.add_stream(
                    name, rate=30, options={"preset": "superfast"} if "x264" in name else {}
                )
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                for number in range(frames):
                    written.mux(stream.encode(av.VideoFrame.from_ndarray(clip.image(number), format="rgb24")))
                written.mux(stream.encode(None))
            found[f"encode_{name}_ms_a_frame"] = round(1e3 * (time.perf_counter() - began) / frames, 3)
        for name, hwaccel in (("cpu", None), ("nvdec", cuda_decoding())):
            if name == "cpu" or hwaccel is not None:
                began = time.perf_counter()
                with av.open(str(Path(folder) / "libx264.mp4"), hwaccel=hwaccel) as read:
                    count = sum(frame.to_ndarray(format="rgb24").shape[0] > 0 for frame in read.decode(video=0))
                found[f"decode_{name}_ms_a_frame"] = round(1e3 * (time.perf_counter() - began) / count, 3)
    return found


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Every figure of one device."""
    cuda = args.device.startswith("cuda")
    size, side = args.model.split(":")
    model = Model(Sam2Size(size.removeprefix("nano-")), int(side), nano=size.startswith("nano-"))
    clip = make_clip((args.frame_size[0], args.frame_size[1]), args.objects)
    runner = Sam2Runner.GRAPH if cuda else Sam2Runner.BATCHED
    precision = Precision.BFLOAT16 if cuda else Precision.FLOAT32
    engine = make_engine(model, model.state(), args.device, runner, precision, args.objects)
    warm = engine.warmup(clip.frame_size, args.objects)
    stream = Stream(engine, clip, args.device)
    stream.serial(_WARM_UP)
    serial: list[float] = []
    ahead: list[float] = []
    stages: dict[str, list[float]] = {}
    for _ in range(args.rounds):
        fps, times = stream.serial(args.frames)
        serial.append(fps)
        for stage, values in times.items():
            stages.setdefault(stage, []).extend(values[_WARM_UP // 2 :])
        ahead.append(stream.ahead(args.frames))
    ratios = [b / a for a, b in zip(serial, ahead, strict=True)]
    return {
        "how": {
            "gpu": torch.cuda.get_device_name() if cuda else "none was lent: says nothing about a GPU",
            "device": args.device,
            "model": f"{args.model}, seeded weights, {precision}, runner {runner}",
            "frame_size": list(clip.frame_size),
            "objects": args.objects,
            "rounds": args.rounds,
            "frames_a_round": args.frames,
            "graph_fallback": warm.fallback,
        },
        "stages_ms": {stage: percentiles(values) for stage, values in stages.items()},
        "serial_fps": [round(one, 2) for one in serial],
        "ahead_fps": [round(one, 2) for one in ahead],
        "ahead_over_serial": {
            "median": round(float(np.median(ratios)), 3),
            "least": round(min(ratios), 3),
            "most": round(max(ratios), 3),
        },
        "peak_mib": round(torch.cuda.max_memory_allocated() / 2**20, 1) if cuda else None,
        "drawing": drawing(clip, args.device if cuda else "auto", args.frames),
        "video_engines": video_engines(clip, 3 * args.frames),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if cuda else "cpu")
    parser.add_argument("--model", default="tiny:1024" if cuda else "nano-tiny:128", help="size:image_size")
    parser.add_argument("--objects", type=int, default=2)
    parser.add_argument("--frame-size", type=int, nargs=2, default=(1280, 720), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--frames", type=int, default=150 if cuda else 30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=RESULTS / "gpu_stream.json")
    args = parser.parse_args(arguments)
    head = conditions()
    write_result(args.json, "gpu_stream", measure(args), head)


if __name__ == "__main__":
    main()
