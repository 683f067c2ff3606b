"""SocketAddress: an address with its port, as a value.

It is an extension type because BlockList reads its bytes without making a text of them, and because
only an extension type has fields that Python code cannot set.  Imports: the parser of addresses,
the package's checks of arguments.
"""

from libc.string cimport memcmp, memcpy

from .address cimport ip_text, parse_known, parse_plain, utf8_of

from .._base.errors import AddressError
from .._base.info import Info
from .._base.option_table import option_set
from .._base.validation import arg_value_error, validate_integer, validate_port, validate_string
from .names import add_node_names

cdef object _options = option_set("SocketAddress")


cdef int family_number(str text):
    if text == "ipv4":
        return 4
    if text == "ipv6":
        return 6
    text = text.lower()
    return 4 if text == "ipv4" else 6 if text == "ipv6" else 0


cdef class SocketAddress:
    """An immutable address with port; equal to another with the same address, port and flow label.

    Args:
        options: a mapping of the options, which may also be given as keywords.
        address: literal address, default '127.0.0.1', or '::' for 'ipv6': a zone is ignored.
        family: 'ipv4' or 'ipv6', in any case, default 'ipv4'.
        port: int 0..65535, or numeric text, default 0.
        flowlabel: int 0..4294967295, default 0: ignored for 'ipv4'.

    Raises:
        ArgTypeError: ERR_INVALID_ARG_TYPE, ERR_UNKNOWN_OPTION.
        ArgValueError: ERR_INVALID_ARG_VALUE, family.
        RangeError: ERR_SOCKET_BAD_PORT; ERR_OUT_OF_RANGE, flowlabel.
        AddressError: ERR_INVALID_ADDRESS, no address of this family.

    Node: net.SocketAddress
    """

    def __cinit__(self, options=None, **keywords):
        given = _options.read(options, keywords)
        family = given.get("family")
        if family is None:
            self._family = 4
        else:
            self._family = family_number(family) if isinstance(family, str) else 0
            if self._family == 0:
                raise arg_value_error("options.family", family)
        address = given.get("address")
        if address is None:
            address = "127.0.0.1" if self._family == 4 else "::"
        validate_string(address, "options.address")
        port = given.get("port")
        self._port = 0 if port is None else validate_port(port, "options.port")
        label = given.get("flowlabel")
        if label is not None:
            label = validate_integer(label, "options.flowlabel", 0, 0xffffffff)
            self._flowlabel = label if self._family == 6 else 0
        cdef Py_ssize_t length = 0
        cdef const char* chars = utf8_of(address, &length)
        if chars == NULL or not parse_known(self._family, chars, length, self._bytes):
            raise AddressError("Invalid socket address", "ERR_INVALID_ADDRESS")

    @property
    def address(self):
        """The address as text, IPv6 in lower case and compressed.

        Node: socketaddress.address
        """
        return ip_text(self._family, self._bytes)

    @property
    def family(self):
        """'ipv4' or 'ipv6'.

        Node: socketaddress.family
        """
        return "ipv4" if self._family == 4 else "ipv6"

    @property
    def port(self):
        """The port, 0..65535.

        Node: socketaddress.port
        """
        return self._port

    @property
    def flowlabel(self):
        """The flow label of an IPv6 address, otherwise 0.

        Node: socketaddress.flowlabel
        """
        return self._flowlabel

    def to_json(self):
        """Return a dict of address, port, family and flowlabel; `default=` of json.dumps takes it.

        Node: socketaddress.toJSON()
        """
        return Info(address=self.address, port=self._port, family=self.family,
                    flowlabel=self._flowlabel)

    @staticmethod
    def is_socket_address(value=None):
        """Return whether value is a SocketAddress.

        Node: SocketAddress.isSocketAddress(value)
        """
        return isinstance(value, SocketAddress)

    @staticmethod
    def parse(input=None):  # noqa: A002
        """Return the SocketAddress that a text like '1.2.3.4:80' or '[::1]:80' means, or None.

        Args:
            input: str; the port with its colon may be missing and is 0 then.

        Raises:
            ArgTypeError: ERR_INVALID_ARG_TYPE, not a str.

        Node: SocketAddress.parse(input)
        """
        return parse_text(validate_string(input, "input"))

    def __eq__(self, other):
        if not isinstance(other, SocketAddress):
            return NotImplemented
        cdef SocketAddress that = <SocketAddress> other
        return (self._family == that._family and self._port == that._port
                and self._flowlabel == that._flowlabel
                and memcmp(self._bytes, that._bytes, 4 if self._family == 4 else 16) == 0)

    def __hash__(self):
        size = 4 if self._family == 4 else 16
        return hash((<bytes> self._bytes[:size], self._port, self._flowlabel))

    def __repr__(self):
        return (f"SocketAddress(address={self.address!r}, port={self._port}, "
                f"family={self.family!r}, flowlabel={self._flowlabel})")

    def __reduce__(self):
        return type(self), (dict(self.to_json()),)


cdef SocketAddress new_address(int family, const unsigned char* bytes):
    cdef SocketAddress made = SocketAddress.__new__(SocketAddress)
    made._family = family
    memcpy(made._bytes, bytes, 4 if family == 4 else 16)
    return made


cdef SocketAddress parse_text(object text):
    """Read `address`, `address:port`, `[address]` or `[address]:port`; None if it is none of them.

    Node reads such a text as a URL, which has port 80 come out as 0 and takes hexadecimal and
    incomplete IPv4 addresses, white space, and what may stand around a host in a URL.  Here none of
    this is so; but as there, leading zeros of a port, and a colon without a port, are no mistakes.
    """
    cdef Py_ssize_t length = 0, end = text.find("]" if text[:1] == "[" else ":")
    cdef const char* chars = utf8_of(text, &length)
    cdef unsigned char bytes[16]
    cdef int family = 6 if text[:1] == "[" else 4
    cdef SocketAddress made
    if chars == NULL or not text.isascii() or family == 6 and end < 0:
        return None
    if end < 0:
        end = length
    if not parse_plain(family, chars + (family == 6), end - (family == 6), bytes):
        return None
    rest = text[end + (family == 6):]
    port = rest[1:].lstrip("0")
    if rest[:1] not in ("", ":") or len(port) > 5 or port and not port.isdigit():
        return None
    if int(port or 0) > 65535:
        return None
    made = new_address(family, bytes)
    made._port = int(port or 0)
    return made


add_node_names(SocketAddress)
