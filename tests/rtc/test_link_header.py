import pytest
from hypothesis import given
from hypothesis import strategies as st

from gest_stream.config import IceServerConfig
from gest_stream.rtc.link_header import ice_servers_in
from gest_stream.server.ice_links import ice_links


@pytest.mark.parametrize(
    ("links", "servers"),
    [
        (['<stun:stun.example.net>; rel="ice-server"'], [("stun:stun.example.net", None, None)]),
        (["<stun:a:3478>;rel=ice-server"], [("stun:a:3478", None, None)]),
        (
            [
                '<turn:t?transport=udp>; rel="ice-server"; username="u"; credential="a, <b>; c\\"d\\\\"; '
                'credential-type="password", <stun:s>; REL="next ICE-SERVER"'
            ],
            [("turn:t?transport=udp", "u", 'a, <b>; c"d\\'), ("stun:s", None, None)],
        ),
        (
            ['</style.css>; rel="preload"', '<https://h/sse>; rel="urn:ietf:params:whep:ext:core:server-sent-events"'],
            [],
        ),
        (['<turn:t>; rel="ice-server"', '<http://t>; rel="ice-server"', "nonsense", ""], []),
    ],
)
def test_ice_servers_are_found_among_links(links: list[str], servers: list[tuple[str, str | None, str | None]]) -> None:
    found = ice_servers_in(links)
    assert [(server.url, server.username, server.credential) for server in found] == servers


_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40)


@given(st.lists(st.tuples(_TEXT, _TEXT), max_size=4))
def test_what_our_server_names_is_read_back(logins: list[tuple[str, str]]) -> None:
    servers = tuple(IceServerConfig(f"turn:h{i}:3478", *login) for i, login in enumerate(logins))
    read = ice_servers_in([", ".join(ice_links(servers))])
    assert [(s.url, s.username, s.credential) for s in read] == [(s.url, s.username, s.credential) for s in servers]
