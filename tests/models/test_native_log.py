from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from gest_stream.models.native_log import native_log_filtered

NOISE = (
    b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n",
    b"WARNING: Logging before InitGoogle() is written to STDERR\n",
    b"W0000 00:00:1795426161.095298   10704 inference_feedback_manager.cc:121] Feedback manager requires a model\n",
)
KEPT = (
    b"E0000 00:00:1795426161.095298   10704 calculator_graph.cc:887] INTERNAL: failed\n",
    b"WARNING: the user's own warning\n",
    b"INFO: the user's own line\n",
    b"ValueError: a Python error\n",
)


def test_only_the_librarys_own_chatter_is_taken_out_and_the_rest_comes_in_order(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with native_log_filtered():
        for noise, kept in zip((*NOISE, b""), KEPT, strict=True):
            os.write(2, noise + kept)
        assert capfd.readouterr().err == ""
    os.write(2, b"after\n")
    assert capfd.readouterr().err.encode() == b"".join(KEPT) + b"after\n"


def test_what_was_written_before_an_error_is_passed_on_with_it(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="broken"), native_log_filtered():
        os.write(2, KEPT[0])
        raise RuntimeError("broken")
    assert capfd.readouterr().err.encode() == KEPT[0]


def test_filters_in_several_threads_leave_standard_error_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    before = os.fstat(2)

    def write(number: int) -> None:
        for _ in range(20):
            with native_log_filtered():
                os.write(2, NOISE[0] + f"line {number}\n".encode())

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (os.fstat(2).st_dev, os.fstat(2).st_ino) == (before.st_dev, before.st_ino)
    assert sorted(capfd.readouterr().err.split("\n")) == ["", *(f"line {n}" for n in range(4) for _ in range(20))]


def test_a_process_without_standard_error_runs_the_block() -> None:
    code = (
        "import os, sys; os.close(2); sys.stderr = None\n"
        "from gest_stream.models.native_log import native_log_filtered\n"
        "with native_log_filtered(): sys.stdout.write('ran')\n"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout == b"ran"
