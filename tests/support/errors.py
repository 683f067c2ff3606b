"""What tests raise."""


class BoomError(Exception):
    """Raised on purpose, to be caught."""
