"""Every parser and reader of options against random inputs; see fuzz.py."""

from __future__ import annotations

import os

import pytest

from . import framings, fuzz, hellos, options, parsers, proxies  # noqa: F401, they register their fuzzers

CI = os.environ.get("CI", "") not in ("", "0", "false")


@pytest.mark.parametrize("name", sorted(fuzz.FUZZERS))
@pytest.mark.filterwarnings("ignore::pyuvnet.errors.KeepAliveWarning")
@pytest.mark.filterwarnings("ignore::pyuvnet.errors.TimeoutOverflowWarning")
@pytest.mark.filterwarnings("ignore::pyuvnet.errors.MaxListenersExceededWarning")
@pytest.mark.filterwarnings("ignore:.*refers to a unix socket of that name:RuntimeWarning")
@pytest.mark.timeout(280)
def test_no_input_does_harm(name: str, full: bool) -> None:
    weight = fuzz.FUZZERS[name][2]
    whole = sum(weight for _, _, weight in fuzz.FUZZERS.values())
    inputs = (1_000_000 if full else 40_000 if CI else 15_000) * weight // whole
    # On CI the same ones each time, elsewhere others.
    seed = 1 if CI or full else int.from_bytes(os.urandom(4), "big")
    tally = fuzz.fuzz_all(inputs, seed, name)
    assert tally == {name: inputs}


def test_a_fuzzer_tells_how_to_repeat_what_it_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsers, "is_ip", lambda value: 4)
    with pytest.raises(fuzz.Finding) as caught:
        fuzz.fuzz_all(200, 1, "address_family")
    command = str(caught.value).splitlines()[-1]
    assert command.startswith(
        "python -m tests.reliability.fuzz --only address_family --seed 1 --at"
    )
    with pytest.raises(fuzz.Finding):
        fuzz.fuzz("address_family", 1, int(command.rpartition(" ")[2]))
    monkeypatch.undo()
    fuzz.fuzz("address_family", 1, int(command.rpartition(" ")[2]))
