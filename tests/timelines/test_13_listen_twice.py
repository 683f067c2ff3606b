"""ordering 3.13: listen() twice."""

import pytest

import pyuvnet
from pyuvnet import net


@pytest.mark.spec("N115", "N162")
def test_while_listening_it_raises_and_changes_nothing(timeline, run):
    server = timeline.watch("S", net.create_server())
    server.listen(0)
    address = server.address()
    with pytest.raises(pyuvnet.errors.StateError) as caught:
        server.listen(0, callback=lambda: timeline.note("S", "never"))
    assert caught.value.code == "ERR_SERVER_ALREADY_LISTEN"
    assert server.address() == address
    server.on("listening", server.close)
    run()
    assert timeline["S"] == ["listening", "close"]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_while_a_host_is_looked_up_the_second_wins(timeline, run, host):
    server = timeline.watch("S", net.create_server())
    server.listen(0, host, callback=lambda: timeline.note("S", "first"))
    server.listen(0, callback=lambda: timeline.note("S", "second", server.address()["address"]))
    server.on("listening", server.close)
    run()
    assert timeline["S"] == ["listening", "first", ("second", "::"), "close"]
