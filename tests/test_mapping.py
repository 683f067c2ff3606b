"""The mapping of addresses: Node's keys inside, either spelling outside."""

import copy
import json
import pickle

import pytest

from pyuvnet._base.info import Info


@pytest.fixture
def info():
    return Info(localAddress="::1", localPort=80, family="IPv6")


def test_it_is_a_dict_of_the_keys_of_node_in_order(info):
    assert isinstance(info, dict)
    assert list(info) == ["localAddress", "localPort", "family"]
    assert info == {"localAddress": "::1", "localPort": 80, "family": "IPv6"}
    assert repr(info) == "{'localAddress': '::1', 'localPort': 80, 'family': 'IPv6'}"
    assert json.loads(json.dumps(info)) == info
    assert len(info) == 3


@pytest.mark.parametrize("key", ["localPort", "local_port"])
def test_reading_works_in_either_spelling(info, key):
    assert info[key] == 80
    assert info.get(key) == 80
    assert info.get(key, 1) == 80
    assert key in info
    assert getattr(info, key) == 80


@pytest.mark.parametrize("key", ["remotePort", "remote_port", "other", "", "_x", "__x__"])
def test_absent_items_are_named_as_asked_for(info, key):
    assert info.get(key) is None
    assert info.get(key, 1) == 1
    assert key not in info
    with pytest.raises(KeyError) as caught:
        info[key]
    assert caught.value.args == (key,)
    with pytest.raises(AttributeError) as no_attribute:
        getattr(info, key)
    assert str(no_attribute.value) == f"no item {key!r} in {{localAddress, localPort, family}}"
    assert no_attribute.value.name == key
    assert no_attribute.value.obj is info


def test_keys_that_are_no_str_are_absent(info):
    assert 1 not in info
    assert info.get(1) is None
    with pytest.raises(KeyError):
        info[1]


def test_keys_of_either_spelling_make_the_keys_of_node():
    assert dict(Info({"local_port": 1}, remote_port=2)) == {"localPort": 1, "remotePort": 2}
    assert dict(Info([("local_port", 1), ("localPort", 2)])) == {"localPort": 2}
    assert dict(Info.fromkeys(["local_port"])) == {"localPort": None}
    info = Info()
    info |= {"local_port": 1}
    assert type(info) is Info
    assert info == {"localPort": 1}
    # One item in either spelling, whichever side has it.
    for merged in (info | {"local_port": 2}, {"local_port": 1} | Info(localPort=2)):
        assert (type(merged), merged) == (Info, {"localPort": 2})


def test_writing_in_either_spelling_reaches_the_one_item(info):
    info["local_port"] = 1
    assert info["localPort"] == 1
    info.local_port = 2
    assert info["localPort"] == 2
    info.localPort = 3
    info.update({"local_address": "x"}, new_item=1)
    assert info.setdefault("local_port", 9) == 3
    assert info.setdefault("other_port", 9) == 9
    assert dict(info) == {
        "localAddress": "x",
        "localPort": 3,
        "family": "IPv6",
        "newItem": 1,
        "otherPort": 9,
    }


def test_removing_works_in_either_spelling(info):
    del info["local_port"]
    assert info.pop("local_address") == "::1"
    assert info.pop("local_address", None) is None
    del info.family
    assert dict(info) == {}
    with pytest.raises(KeyError):
        info.pop("local_address")
    with pytest.raises(KeyError) as caught:
        del info["local_port"]
    assert caught.value.args == ("local_port",)
    with pytest.raises(AttributeError, match="no item 'local_port'"):
        del info.local_port


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_it_can_be_pickled(info, protocol):
    same = pickle.loads(pickle.dumps(info, protocol))
    assert type(same) is Info
    assert same == info
    assert same.local_port == 80


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, Info.copy, Info])
def test_copies_are_independent_and_of_the_same_class(info, copied):
    same = copied(info)
    assert type(same) is Info
    assert same == info
    same["localPort"] = 1
    assert info["localPort"] == 80


def test_it_passes_as_keywords_and_as_a_mapping(info):
    assert dict(**info) == info
    assert {**info} == info


def test_dir_lists_the_items(info):
    assert {"localAddress", "localPort", "items"} <= set(dir(info))


def test_it_has_no_attributes_beside_its_items(info):
    assert not hasattr(info, "__dict__")
