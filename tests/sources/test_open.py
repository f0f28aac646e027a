from pathlib import Path

import pytest

from gest_stream.errors import SourceOpenError
from gest_stream.sources.file import FileSource
from gest_stream.sources.images import ImagesSource
from gest_stream.sources.network import NetworkSource
from gest_stream.sources.open import open_source
from gest_stream.sources.stdin import StdinSource
from gest_stream.sources.synthetic import SyntheticSource
from gest_stream.sources.webcam import WebcamSource
from gest_stream.sources.whep import WhepSource
from tests.media import make_clip, make_image, numbered
from tests.sources.running import open_error, read_all


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("clip.mp4", FileSource),
        ("file:///tmp/clip.mp4", FileSource),
        ("take:1.mp4", FileSource),
        ("0", WebcamSource),
        ("/dev/video3", WebcamSource),
        ("rtsp://cam/stream", NetworkSource),
        ("HTTPS://host/a.m3u8", NetworkSource),
        ("udp://239.0.0.1:5000", NetworkSource),
        ("webrtc:whep:https://host/whep/cam", WhepSource),
        ("whep:http://host:8765/whep/cam", WhepSource),
        ("-", StdinSource),
        ("synthetic:", SyntheticSource),
        ("synthetic:demo,frames=3", SyntheticSource),
    ],
)
def test_the_text_picks_the_source(text: str, kind: type) -> None:
    assert type(open_source(text)) is kind


def test_a_folder_is_its_images_at_the_given_rate(tmp_path: Path) -> None:
    make_image(tmp_path / "a.png", numbered(0))
    source = open_source(str(tmp_path), rate=5)
    assert isinstance(source, ImagesSource)
    read_all(source)
    assert source.info.average_rate == 5


def test_a_file_opens_and_plays(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4")
    assert len(read_all(open_source(str(path)))) == 10
    assert len(read_all(open_source(path.as_uri()))) == 10


def test_a_file_named_by_a_number_wins_over_the_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_clip(tmp_path / "clip.mkv").rename(tmp_path / "7")
    monkeypatch.chdir(tmp_path)
    assert len(read_all(open_source("7"))) == 10


@pytest.mark.parametrize("text", ["webrtc:https://host/x", "whip:https://host/x", "webrtc:whip:https://host/x"])
def test_how_a_webrtc_stream_is_pulled_is_told(text: str) -> None:
    with pytest.raises(SourceOpenError, match="a stream is pulled with 'webrtc:whep:URL'; 'whip:URL' is for outputs"):
        open_source(text)


def test_an_unknown_scheme_names_the_known_ones() -> None:
    with pytest.raises(
        SourceOpenError, match=r"^gopher://: unknown kind of address; known are http://, https://, rtsp://"
    ):
        open_source("gopher://host/clip")


@pytest.mark.parametrize("text", ["", "  "])
def test_nothing_is_refused_with_what_could_be_passed(text: str) -> None:
    with pytest.raises(SourceOpenError, match="the source is empty; pass a file, a folder of images, a camera number"):
        open_source(text)


def test_a_missing_file_is_told_when_it_is_entered(tmp_path: Path) -> None:
    assert "no such file" in open_error(open_source(str(tmp_path / "clip.mp4")))
