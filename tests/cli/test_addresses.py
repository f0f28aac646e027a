from pathlib import Path

import pytest

from gest_stream.cli.addresses import Tokens, split_outputs
from gest_stream.errors import ConfigError, SinkError


def test_an_output_is_a_file_or_a_whip_address() -> None:
    outputs = ["out.mp4", "whip:https://a.example/whip/x", "webrtc:whip:http://b.example/x", "file:///tmp/a.mkv"]
    files, urls = split_outputs(outputs)
    assert files == [Path("out.mp4"), Path("/tmp/a.mkv")]
    assert urls == ["https://a.example/whip/x", "http://b.example/x"]


@pytest.mark.parametrize("name", ["take:1.mp4", "C:\\clips\\out.mp4", "a/b.webm"])
def test_a_name_with_a_colon_is_a_file(name: str) -> None:
    assert split_outputs([name]) == ([Path(name)], [])


@pytest.mark.parametrize("output", ["rtmp://host/app/key", "whep:https://host/x", "webrtc:whep:https://host/x"])
def test_an_unknown_kind_of_output_names_the_known_ones(output: str) -> None:
    with pytest.raises(
        SinkError, match=r"unknown kind of output; known are whip:URL, as in whip:https://.*\.mp4"
    ) as info:
        split_outputs([output])
    assert "key" not in str(info.value)


def test_one_token_is_for_the_one_server() -> None:
    tokens = Tokens(["abc123=="], ["https://a.example/whip/x", "https://A.example/whep/y"])
    assert tokens.of("https://a.example/whip/x") == tokens.of("https://a.example/whep/y") == "abc123=="
    assert tokens.of("https://b.example/") is None


def test_tokens_find_their_servers_by_host_and_port() -> None:
    urls = ["https://a.example:8443/whip/x", "https://user:pw@b.example/whep/y"]
    tokens = Tokens(["a.example=one", "B.EXAMPLE=two="], urls)
    assert [tokens.of(url) for url in urls] == ["one", "two="]
    ports = ["http://a.example:1/x", "http://a.example:2/x"]
    tokens = Tokens(["a.example:2=second"], ports)
    assert [tokens.of(url) for url in ports] == [None, "second"]


def test_a_token_that_could_be_for_either_server_goes_to_none() -> None:
    with pytest.raises(ConfigError, match=r"talks to a\.example and b\.example: write --token HOST=TOKEN") as info:
        Tokens(["geheim"], ["https://a.example/whip/x", "https://b.example/whep/y"])
    assert "geheim" not in str(info.value)


def test_a_token_for_another_server_is_refused_without_being_shown() -> None:
    with pytest.raises(ConfigError, match="is for another server") as info:
        Tokens(["c.example=geheim"], ["https://a.example/whip/x"])
    assert "geheim" not in str(info.value)


def test_tokens_mean_nothing_to_a_run_without_servers() -> None:
    assert Tokens(["anything", "host=thing"], []).of("https://a.example/") is None
