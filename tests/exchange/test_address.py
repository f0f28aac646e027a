"""Where a worker listens, and what it does with what it finds there."""

import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from gest_stream.errors import ConfigError
from gest_stream.exchange.address import ListeningSocket, default_socket_path


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        return client.connect_ex(str(path)) == 0


def test_the_default_address_is_in_the_runtime_folder_or_below_tmp() -> None:
    assert default_socket_path({"XDG_RUNTIME_DIR": "/run/user/7"}, 7) == Path("/run/user/7/gest_stream/worker.sock")
    assert default_socket_path({"XDG_RUNTIME_DIR": ""}, 7) == Path("/tmp/gest_stream-7/worker.sock")
    assert default_socket_path({}, 1000) == Path("/tmp/gest_stream-1000/worker.sock")


def test_folder_and_socket_are_the_users_alone(tmp_path: Path) -> None:
    path = tmp_path / "gest_stream" / "worker.sock"
    listening = ListeningSocket(path)
    try:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert connects(path)
    finally:
        listening.close()
    assert not path.exists()


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "w.sock"
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    dead.bind(str(path))
    dead.close()  # as a killed worker leaves it
    listening = ListeningSocket(path)
    assert connects(path)
    listening.close()


def test_a_live_socket_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "w.sock"
    first = ListeningSocket(path)
    with pytest.raises(ConfigError, match=r"w\.sock: another worker listens there; stop it first"):
        ListeningSocket(path)
    assert connects(path)
    first.close()


def test_a_live_socket_whose_backlog_is_full_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.sock"
    first = ListeningSocket(path)
    clients = []
    while True:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        client.setblocking(False)
        clients.append(client)
        if client.connect_ex(str(path)) != 0:
            break
    with pytest.raises(ConfigError, match="another worker"):
        ListeningSocket(path)
    for client in clients:
        client.close()
    first.close()


def test_a_file_that_is_no_socket_is_never_removed(tmp_path: Path) -> None:
    path = tmp_path / "w.sock"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="something else lies there"):
        ListeningSocket(path)
    assert path.read_text() == "mine"


def test_a_socket_that_took_ones_place_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "w.sock"
    first = ListeningSocket(path)
    path.unlink()
    second = ListeningSocket(path)
    first.close()
    assert connects(path)
    second.close()


def test_a_folder_in_which_others_could_replace_the_socket_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ConfigError, match=r"other users could replace the socket \(mode 0777"):
        ListeningSocket(folder / "w.sock")
    folder.chmod(0o1777)  # as /tmp: a socket in it is safe
    ListeningSocket(folder / "w.sock").close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o700)
    os.chown(folder, 4321, 4321)
    with pytest.raises(ConfigError, match="user 4321"):
        ListeningSocket(folder / "w.sock")


def test_a_path_too_long_for_a_socket_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at most 107 bytes"):
        ListeningSocket(tmp_path / ("x" * 108))


def test_of_workers_that_start_at_once_one_listens(tmp_path: Path) -> None:
    path = tmp_path / "w.sock"
    listening: list[ListeningSocket] = []
    refused: list[ConfigError] = []
    start = threading.Barrier(8)

    def go() -> None:
        start.wait()
        try:
            listening.append(ListeningSocket(path))
        except ConfigError as exc:
            refused.append(exc)

    threads = [threading.Thread(target=go) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(listening), len(refused)) == (1, 7)
    assert connects(path)
    listening[0].close()
