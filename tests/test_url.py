import pytest
from hypothesis import given
from hypothesis import strategies as st

from gest_stream.url import redacted


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://cam.local:554/stream", "rtsp://cam.local:554/stream"),
        ("rtsp://admin:hunter2@cam.local:554/s", "rtsp://admin:***@cam.local:554/s"),
        ("rtsp://admin:p@ss@cam.local/s", "rtsp://admin:***@cam.local/s"),
        ("rtsp://admin:p/w?x#y@cam.local/s", "rtsp://admin:***@cam.local/s"),
        ("rtmp://streamkey@host/app", "rtmp://***@host/app"),
        ("http://host:8080/@user/clip.mp4", "http://host:8080/@user/clip.mp4"),
        ("http://host/@user/clip.mp4", "http://host/@user/clip.mp4"),
        ("https://h/a.m3u8?token=abc&start=5", "https://h/a.m3u8?token=***&start=5"),
        (
            "https://h/a?X-Amz-Signature=ff&access_key=k;pwd=p#t",
            "https://h/a?X-Amz-Signature=***&access_key=***;pwd=***#t",
        ),
        ("https://cf.example/b236bde30eb07b9d01318940e5fc3eda/webRTC/publish", "https://cf.example/***/webRTC/publish"),
        ("https://host/whip/live_1234567_abcdefghijklmnopqrstuvwxyz?x=1", "https://host/whip/***?x=1"),
        ("https://host/whip/a-name-of-thirty-one-letters-00", "https://host/whip/a-name-of-thirty-one-letters-00"),
        ("clip.mp4", "clip.mp4"),
    ],
)
def test_secrets_are_hidden_and_the_rest_is_shown(url: str, shown: str) -> None:
    assert redacted(url) == shown


@given(st.text(alphabet=st.characters(codec="ascii", categories=("L", "N", "P", "S")), min_size=1))
def test_no_password_survives(noise: str) -> None:
    secret = f"SECRET{noise}SECRET"
    assert "SECRET" not in redacted(f"rtsp://user:{secret}@host/path")
