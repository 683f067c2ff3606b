"""What `pyuvnet.typing` is at run time: a name of an event, and names for annotations."""

import subprocess
import sys

import pytest

import pyuvnet
from pyuvnet import EventEmitter, Socket, net
from pyuvnet.typing import AddressInfo, DropInfo, Event, TextDuplex, TextReadable, TextSocket


@pytest.mark.parametrize("kind", [Event, Event[str], Event[()], Event[str, int]], ids=str)
def test_an_event_of_ones_own_is_its_name(kind):
    login = kind("login")
    assert login == "login"
    assert isinstance(login, str)
    assert type(login) is Event
    emitter, seen = EventEmitter(), []
    emitter.on(login, lambda *arguments: seen.append(arguments))
    emitter.on("login", seen.append)
    assert emitter.event_names() == ["login"]
    emitter.emit("login", "ann")
    emitter.emit(login, "bob")
    assert seen == [("ann",), "ann", ("bob",), "bob"]


def test_a_socket_takes_it_as_an_emitter_does():
    socket, seen = Socket(), []
    socket.once(Event("login"), seen.append)
    assert socket.emit(Event("login"), "ann")
    assert not socket.emit(Event("login"), "ann")
    assert seen == ["ann"]


def test_the_other_names_are_the_classes_of_what_they_stand_for():
    assert (TextSocket, TextDuplex, TextReadable) == (Socket, pyuvnet.Duplex, pyuvnet.Readable)
    assert isinstance(Socket().address(), AddressInfo)
    assert AddressInfo is DropInfo
    assert isinstance(net.Socket().set_encoding("utf8"), TextSocket)


def test_nothing_of_it_is_imported_unless_a_program_asks():
    code = (
        "import sys, pyuvnet, pyuvnet.__main__\n"
        "print(*(m for m in ('typing', '_typing', '_commands.stubs', '_base.words')"
        " if f'pyuvnet.{m}' in sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "\n"
