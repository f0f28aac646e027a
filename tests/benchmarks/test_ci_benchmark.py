import json
import math
from pathlib import Path
from typing import Any

import pytest

from benchmarks import ci
from benchmarks.peers.rounds import Outcome
from benchmarks.report import ROOT

GOOD = {name: [2.0 * limit.at_least] * 5 for name, limit in ci.LIMITS.items()}


def test_good_ratios_pass() -> None:
    assert ci.verdicts(GOOD) == []


@pytest.mark.parametrize("name", list(ci.LIMITS))
def test_each_ratio_fails_below_its_limit_and_says_which(name: str) -> None:
    limit = ci.LIMITS[name].at_least
    (sentence,) = ci.verdicts({**GOOD, name: [limit * 0.95] * 5})
    assert sentence.startswith(f"{name}: {limit * 0.95:.3f} is below {limit}")
    assert ci.verdicts({**GOOD, name: [limit] * 5}) == []


def test_one_bad_round_of_five_fails_nothing_and_three_do() -> None:
    limit = ci.LIMITS["exact_over_fixed"].at_least
    assert ci.verdicts({**GOOD, "exact_over_fixed": [0.1, 0.1, 2 * limit, 2 * limit, 2 * limit]}) == []
    assert ci.verdicts({**GOOD, "exact_over_fixed": [0.1, 0.1, 0.1, 2 * limit, 2 * limit]})


def test_a_ratio_that_is_no_number_or_was_not_measured_fails() -> None:
    assert ci.verdicts({**GOOD, "naive_cpu_over_ours": [math.nan] * 5})
    assert ci.verdicts({name: values for name, values in GOOD.items() if name != "batched_over_fixed"}) == [
        "batched_over_fixed: was not measured"
    ]


def test_wall_time_is_judged_in_undisturbed_rounds_alone() -> None:
    quiet, busy = 0.1, 1.3
    ours = [Outcome(1.0, 1.0, 9, 9, others) for others in (quiet, quiet, busy, quiet)]
    naive = [Outcome(0.5, 2.0, 9, 9, others) for others in (quiet, busy, quiet, quiet)]
    ratios = ci.video_ratios(ours, naive)
    assert ratios == {"naive_cpu_over_ours": [2.0] * 4, ci.WALL: [0.5, 0.5]}
    assert ci.verdicts({**GOOD, ci.WALL: ratios[ci.WALL]}) == [], "of two rounds nothing is said"
    assert ci.verdicts({**GOOD, ci.WALL: [0.5] * 3})


def run_main(path: Path, monkeypatch: pytest.MonkeyPatch, ratios: dict[str, list[float]]) -> tuple[int, dict[str, Any]]:
    monkeypatch.setattr(ci, "measure", lambda: (ratios, {"systems": []}))
    code = ci.main(["--json", str(path)])
    return code, json.loads(path.read_text())


def test_the_command_fails_on_bad_ratios_and_writes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, record = run_main(tmp_path / "bad.json", monkeypatch, {**GOOD, "naive_cpu_over_ours": [0.4, 0.5, 0.6]})
    assert code == 1
    assert "TOO SLOW: naive_cpu_over_ours: 0.500" in capsys.readouterr().err
    assert record["ratios"]["naive_cpu_over_ours"]["by_round"] == [0.4, 0.5, 0.6] and len(record["too_slow"]) == 1


def test_the_command_passes_on_good_ratios(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, record = run_main(tmp_path / "good.json", monkeypatch, GOOD)
    assert (code, record["too_slow"]) == (0, [])


def test_sam2s_runners_are_compared_on_every_round(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    threads = torch.get_num_threads()
    monkeypatch.setattr(ci, "OBJECTS", 1)
    try:
        ratios = ci.measure_sam2(rounds=1)
    finally:
        torch.set_num_threads(threads)
    assert ratios.keys() == {"exact_over_fixed", "batched_over_fixed"}
    assert all(len(values) == 1 and values[0] > 0 for values in ratios.values())


def test_ci_runs_it_after_the_tests() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert lines.index("make bench-ci") > lines.index("make test")
    assert "-m benchmarks.ci" in (ROOT / "Makefile").read_text()
