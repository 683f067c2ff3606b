"""BlockLists by one call, and what they raise."""

import pytest

from pyuvnet.blocklist import BlockList
from pyuvnet.errors import Error


def made(*calls):
    """A list on which these (method, *arguments) were called."""
    block_list = BlockList()
    for method, *arguments in calls:
        assert getattr(block_list, method)(*arguments) is None
    return block_list


def code_of(call, *arguments):
    with pytest.raises(Error) as caught:
        call(*arguments)
    return caught.value.code


def text_of(call, *arguments):
    with pytest.raises(Error) as caught:
        call(*arguments)
    return caught.value.message
