"""ordering 3.12: EADDRINUSE."""

import pytest

from pyuvnet import net


@pytest.mark.spec("N020", "N109", "N116", "N134")
def test_the_error_comes_in_a_tick_and_a_retry_calls_all_callbacks(timeline, run):
    def failed(error):
        assert isinstance(error, OSError)
        assert (error.code, error.syscall) == ("EADDRINUSE", "listen")
        assert (error.address, error.port) == ("127.0.0.1", port)
        assert str(error) == f"listen EADDRINUSE: address already in use 127.0.0.1:{port}"
        assert not server.listening
        assert server.address() is None
        holder.close(lambda error: server.listen(port, "127.0.0.1", callback=second))

    def second():
        timeline.note("S", "second callback")
        server.close()

    def begin():
        nonlocal port
        port = holder.address()["port"]
        server.listen(port, "127.0.0.1", callback=lambda: timeline.note("S", "first callback"))
        assert not server.listening
        assert timeline["S"] == []

    port = 0
    holder = net.create_server()
    holder.listen(0, "127.0.0.1", callback=begin)
    server = timeline.watch("S", net.create_server())
    server.on("error", failed)
    run()
    assert timeline["S"] == [
        ("error", "EADDRINUSE"),
        "listening",
        "first callback",
        "second callback",
        "close",
    ]


@pytest.mark.spec("N110")
def test_without_a_listener_it_comes_out_of_run(run):
    holder = net.create_server().listen(0)
    server = net.create_server().listen(holder.address()["port"])
    assert not server.listening
    with pytest.raises(OSError, match="EADDRINUSE") as caught:
        run()
    assert caught.value.address == "::"
    holder.close()
    run()
