"""Options: either spelling, keywords and mapping, and the errors for names."""

import collections
import re
import types

import pytest

import pyuvnet
from pyuvnet import BoundSocket, Duplex, Readable, Server, Socket, Writable, run
from pyuvnet._base.names import to_node
from pyuvnet._base.option_table import NO_SETTINGS, option_set
from pyuvnet._base.option_table import OPTIONS as TABLE
from pyuvnet._base.options import OBJECT_MODES, OptionSet
from pyuvnet.errors import ArgTypeError
from pyuvnet.socket import connect_arguments, create_connection
from tests.support.frames import DESCRIBED

OPTIONS = OptionSet("create_server", ["no_delay", "ipv6_only", "port", "allow_half_open"])


def message(*args):
    with pytest.raises(ArgTypeError) as caught:
        OPTIONS.read(*args)
    assert caught.value.code == "ERR_UNKNOWN_OPTION"
    return str(caught.value)


def test_nothing_given_gives_nothing():
    assert OPTIONS.read(None, {}) == {}
    assert OPTIONS.read() == {}
    assert OPTIONS.read({}, None) == {}


def test_each_read_returns_its_own_dict():
    assert OPTIONS.read() is not OPTIONS.read()
    mapping = {"port": 1}
    assert OPTIONS.read(mapping) is not mapping


@pytest.mark.parametrize("name", ["ipv6_only", "ipv6Only"])
def test_either_spelling_is_taken_from_keywords_and_mapping(name):
    assert OPTIONS.read(None, {name: True}) == {"ipv6_only": True}
    assert OPTIONS.read({name: True}, {}) == {"ipv6_only": True}


def test_keywords_win_over_the_mapping_whatever_the_spelling():
    assert OPTIONS.read({"noDelay": 1, "port": 2}, {"no_delay": 3}) == {"no_delay": 3, "port": 2}
    assert OPTIONS.read({"no_delay": 1}, {"noDelay": False}) == {"no_delay": False}


def test_none_is_kept_but_does_not_win():
    assert OPTIONS.read(None, {"port": None}) == {"port": None}
    assert OPTIONS.read({"port": None}) == {"port": None}
    assert OPTIONS.read({"port": 80}, {"port": None}) == {"port": 80}
    assert OPTIONS.read({"port": None}, {"port": 80}) == {"port": 80}


@pytest.mark.spec("D01")
def test_an_unknown_keyword_is_named_with_the_likely_one_in_its_spelling():
    assert message(None, {"no_dealy": True}) == (
        "create_server() got an unknown option 'no_dealy'. Did you mean 'no_delay'?"
    )
    assert message(None, {"noDealy": True}).endswith("Did you mean 'noDelay'?")


def test_an_unknown_keyword_like_none_of_the_options_gets_no_suggestion():
    assert message(None, {"zzz": 1}) == "create_server() got an unknown option 'zzz'"


def test_an_unknown_keyword_is_an_error_even_if_none():
    assert "'zzz'" in message(None, {"zzz": None})


def test_unknown_keys_of_the_mapping_are_ignored():
    assert OPTIONS.read({"family": "IPv4", 7: 8, "port": 80}) == {"port": 80}


def test_a_strict_set_refuses_what_no_function_knows():
    strict = OptionSet("connect", ["ca"], strict=True)
    assert strict.read({"ca": 1, "port": 80, "allowHalfOpen": True}) == {"ca": 1}
    for both in (strict, strict | OPTIONS, OPTIONS | strict):
        for name in ("caa", 7, None):
            with pytest.raises(ArgTypeError, match=f"unknown option '{name}'") as caught:
                both.read({name: 1})
            assert caught.value.code == "ERR_UNKNOWN_OPTION"


def test_two_spellings_in_one_place_are_an_error():
    text = "create_server() got one option under two names, 'no_delay' and 'noDelay'"
    assert message({"no_delay": 1, "noDelay": 1}) == text
    assert message(None, {"noDelay": 1, "no_delay": None}) == text


@pytest.mark.spec("D02")
@pytest.mark.parametrize(
    "kind",
    [
        dict,
        collections.OrderedDict,
        collections.ChainMap,
        collections.UserDict,
        types.MappingProxyType,
    ],
)
def test_any_mapping_is_read_and_left_unchanged(kind):
    contents = {"noDelay": True, "other": []}
    mapping = kind(contents)
    assert OPTIONS.read(mapping, {"port": 1}) == {"no_delay": True, "port": 1}
    assert dict(mapping) == {"noDelay": True, "other": []}


@pytest.mark.parametrize("mapping", ["x", 1, True, [], ["ab"], object()])
def test_what_is_no_mapping_is_a_type_error(mapping):
    with pytest.raises(ArgTypeError) as caught:
        OPTIONS.read(mapping)
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"
    assert str(caught.value).startswith('The "options" argument must be of type object. Received ')


def test_the_keywords_are_left_unchanged():
    keywords = {"noDelay": 1}
    OPTIONS.read({"port": 2}, keywords)
    assert keywords == {"noDelay": 1}


def test_a_union_takes_the_options_of_both():
    union = OPTIONS | OptionSet("connect", ["local_address", "port"])
    assert list(union) == [*OPTIONS, "local_address"]
    assert union.function == "create_server"
    assert union.read(None, {"localAddress": 1, "noDelay": 2}) == {
        "local_address": 1,
        "no_delay": 2,
    }
    assert "local_address" not in OPTIONS


def test_a_union_with_something_else_is_refused():
    with pytest.raises(TypeError):
        OPTIONS | ["port"]


def test_a_set_can_be_made_from_another_under_a_new_name():
    renamed = OptionSet("listen", OPTIONS)
    assert list(renamed) == list(OPTIONS)
    assert repr(renamed) == (
        "OptionSet('listen', ['no_delay', 'ipv6_only', 'port', 'allow_half_open'])"
    )


def test_membership_is_by_either_spelling():
    assert "no_delay" in OPTIONS
    assert "noDelay" in OPTIONS
    assert "nodelay" not in OPTIONS
    assert 1 not in OPTIONS


def test_the_table_names_no_option_of_a_function_twice():
    for function in {each for row in TABLE for each in row[1].split()}:
        names = [row[0] for row in TABLE if function in row[1].split()]
        assert names, function
        assert len(set(names)) == len(names), function


def test_a_set_of_the_table_has_the_options_of_its_functions():
    assert list(option_set("SocketAddress")) == ["address", "family", "port", "flowlabel"]
    both = option_set("promises.listen", "BoundSocket")
    assert both.function == "listen"
    assert set(both) == {"connection_listener", *option_set("BoundSocket")}


def test_streams_of_objects_are_refused_by_each_name_that_the_table_has():
    names = {row[0] for row in TABLE if row[0].endswith("object_mode")}
    assert names == set(OBJECT_MODES)


@pytest.mark.parametrize("kind", [Readable, Writable, Duplex, Socket, Server])
def test_each_option_of_the_table_is_taken_and_none_means_not_given(kind):
    for name in option_set(kind.__name__):
        for spelling in (name, to_node(name)):
            kind(**{spelling: None})


def test_a_keyword_that_is_none_leaves_a_positional_argument_as_it_is():
    assert connect_arguments((80, "host"), {"host": None, "port": None}, None)[0] == {
        "host": "host",
        "port": 80,
    }
    assert connect_arguments(("/path",), {"path": None}, None)[0] == {"path": "/path"}


# ---- Options as attributes -----------------------------------------------------------------------

# Objects with options, and the functions that take them, by their names in the table.
WITH_OPTIONS = {
    Server: "Server listen",
    pyuvnet.tls.Server: "tls.Server SecureContext Server listen",
    Socket: "Socket connect create_connection",
    pyuvnet.tls.TLSSocket: "TLSSocket tls.connect SecureContext Socket connect",
    pyuvnet.tls.SecureContext: "SecureContext",
    BoundSocket: "BoundSocket",
    Readable: "Readable",
    Writable: "Writable",
    Duplex: "Duplex",
    **{kind: kind.__name__ for kind in DESCRIBED if [*option_set(kind.__name__)]},
}
MAKE = {
    pyuvnet.tls.TLSSocket: lambda: pyuvnet.tls.TLSSocket(Socket()).on("error", str),
    **{kind: lambda each=each: each.forms[0] for kind, each in DESCRIBED.items()},
}


@pytest.mark.spec("D311")
@pytest.mark.parametrize("kind", WITH_OPTIONS)
def test_no_option_is_assigned_without_an_effect(kind):
    """Each is a member that checks and applies it, or assigning it raises."""
    thing = MAKE.get(kind, kind)()
    names = {
        spelling
        for name, functions, *_ in TABLE
        if not set(WITH_OPTIONS[kind].split()).isdisjoint(functions.split())
        for spelling in (name, to_node(name))
    }
    refused = set()
    for name in names:
        before = getattr(thing, name, None)
        try:
            # What it is already, or a value of the wrong type for most.
            setattr(thing, name, before)
        except (AttributeError, TypeError):
            refused.add(name)
            assert getattr(thing, name, None) == before
    # A program may replace a method, such as enable_trace().
    stored = set(getattr(thing, "__dict__", ())) & names
    assert {name for name in stored if not callable(getattr(kind, name, None))} <= NO_SETTINGS
    assert refused
    if hasattr(thing, "__dict__"):
        thing.my_state = 1
        assert thing.my_state == 1
    if isinstance(thing, BoundSocket):
        thing.close()
    elif isinstance(thing, pyuvnet.Duplex):
        thing.destroy()
    run()


def test_a_refused_option_says_what_to_do():
    for thing, name, does in [
        (Server(), "max_write_buffer", "pass it to Server()"),
        (Server(), "maxWriteBuffer", "pass it to Server()"),
        (Server(), "backlog", "pass it to listen()"),
        (Server(), "capture_rejections", "pass it to the constructor"),
        (Socket(), "noDelay", "call set_no_delay()"),
        (Socket(), "idle_timeout", "pass it to connect()"),
        (pyuvnet.tls.Server(), "ciphers", "call set_secure_context()"),
    ]:
        with pytest.raises(AttributeError, match=re.escape(does)) as caught:
            setattr(thing, name, 1)
        assert caught.value.code == "ERR_UNKNOWN_OPTION"
        assert not hasattr(thing, name) or name == "capture_rejections"


def test_a_member_of_a_subclass_may_have_the_name_of_an_option():
    class Mine(Socket):
        handles = None

        @property
        def mark(self):
            return self.marked

        @mark.setter
        def mark(self, value):
            self.marked = value

    mine = Mine()
    mine.handles, mine.mark, mine.session = 1, 2, 3
    assert (mine.handles, mine.mark, mine.session) == (1, 2, 3)


@pytest.mark.parametrize(
    ("name", "value", "wrong"),
    [
        ("idle_timeout", 5000, -1),
        ("first_byte_timeout", 1, "1"),
        ("write_timeout", 20.5, True),
        ("max_lifetime", 10, 2**31),
        ("min_read_rate", (1, 1000), 5),
    ],
)
def test_deadlines_of_a_server_are_read_and_set(name, value, wrong):
    server = Server(**{name: value})
    assert getattr(server, name) == value
    other = Server()
    assert getattr(other, name) is None
    setattr(other, to_node(name), value)
    assert getattr(other, name) == value
    with pytest.raises((TypeError, ValueError)) as caught:
        setattr(other, name, wrong)
    assert caught.value.code.startswith("ERR_")
    assert getattr(other, name) == value
    setattr(other, name, None)
    assert getattr(other, name) is None


@pytest.mark.spec("D311")
def test_timeouts_that_are_assigned_apply():
    codes = []

    def connection(socket):
        socket.on("error", lambda error: codes.append(error.code))
        socket.on("close", lambda had_error: server.close())

    server = Server(connection).listen(0)
    server.idle_timeout = 5
    client = create_connection(server.address().port, "127.0.0.1")
    client.on("error", print).resume()
    run()
    assert codes == ["ERR_SOCKET_IDLE"]
    server.listen(0)
    server.idle_timeout = None
    client = create_connection(server.address().port, "127.0.0.1")
    client.on("timeout", lambda: (codes.append("timeout"), client.destroy()))
    client.timeout = 1
    run()
    assert codes == ["ERR_SOCKET_IDLE", "timeout"]
