"""The public names are pinned, and importing the package stays light."""

import subprocess
import sys

import gest_stream as gs

HEAVY = ("torch", "mediapipe", "cv2", "av", "aiortc", "sam2", "scipy", "pydantic")


def modules_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after running `code`."""
    script = f"{code}\nimport sys\nprint('\\n'.join(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split("\n"))


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert modules_after("import gest_stream").isdisjoint({*HEAVY, "numpy"})


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['gest-stream', '--help']\n"
        "from gest_stream.cli.main import main\n"
        "try: main()\nexcept SystemExit as exit: assert exit.code == 0, exit.code"
    )
    assert modules_after(code).isdisjoint(HEAVY)


def test_every_public_name_resolves() -> None:
    for name in gs.__all__:
        assert getattr(gs, name) is not None
    assert set(gs.__all__) <= set(dir(gs))


def test_public_names_are_pinned() -> None:
    assert gs.__all__ == sorted(gs.__all__, key=lambda name: (name.upper() != name, name[0].islower(), name))
    assert set(gs.__all__) == {
        *("HAND_CONNECTIONS", "LANDMARK_NAMES"),
        *("ConfigError", "DeviceError", "GestStreamError", "InvalidInputError", "MissingDependencyError"),
        *("ModelError", "SinkError", "SourceError", "SourceLostError", "SourceOpenError", "WeightsError"),
        *("EffectConfig", "EffectKind", "PipelineConfig", "Sam2Config", "Sam2Size", "SegmenterKind", "load_config"),
        *("HandProbability", "Redetector", "RedetectorConfig", "RedetectorKind", "Reinitialisation", "ReinitialisedBy"),
        *("Prompt", "PromptMode", "Sam2Engine"),
        *("Frame", "FrameResult", "HandLandmarks", "HandMask", "Handedness", "Track", "TrackState"),
        *("HandDetector", "Segmenter", "Sink", "Source", "SourceInfo"),
        *("HandTracker", "Pipeline", "RunStats", "track", "open_source"),
        *("JsonlSink", "MaskFolderSink", "VideoSink", "WindowSink", "landmark_video", "segmented_video"),
        *("Renderer", "draw_landmarks"),
        *("AvFilter", "av_filter", "webrtc"),
    }


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(gs, "Detectron")
