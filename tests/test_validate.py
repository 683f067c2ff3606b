"""Checks of arguments, and the texts of their errors.

The texts in the tables were recorded from Node 26.10. Where the value has no counterpart in
JavaScript the text is ours.
"""

import functools
import math

import pytest

from pyuvnet._base import validation as validate
from pyuvnet.errors import ArgTypeError, ArgValueError, RangeError
from tests.support.cases import cases

INFINITY = math.inf
NAN = math.nan


class Foo:
    def __init__(self):
        self.a = 1
        self._private = 2


class Bar(Foo):
    pass


class Empty:
    pass


class Callable:
    def __call__(self):
        pass


class Index:
    """An integer of another library."""

    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value


class NoIndex:
    """Has the method, but is no integer: an array of several items, say."""

    def __index__(self):
        raise TypeError("not an integer")


class List(list):
    pass


class UntellableError(Exception):
    def __str__(self):
        raise ZeroDivisionError


def function():
    pass


async def coroutine_function():
    pass


def generator_function():
    yield


async def async_generator_function():
    yield


# Numbers and strings


@cases(
    ("value", "text"),
    [
        (0, "0"),
        (-0.0, "-0"),
        (0.0, "0"),
        (80, "80"),
        (80.0, "80"),
        (-5, "-5"),
        (1.5, "1.5"),
        (-1234567.891, "-1234567.891"),
        (0.1, "0.1"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (1.25e-7, "1.25e-7"),
        (1e16, "10000000000000000"),
        (123456789012345680000.0, "123456789012345680000"),
        (1e21, "1e+21"),
        (-1.5e300, "-1.5e+300"),
        (2**53 - 1, "9007199254740991"),
        (2**53 + 1, "9007199254740992"),
        (2**64, "18446744073709552000"),
        (10**400, "Infinity"),
        (-(10**400), "-Infinity"),
        (NAN, "NaN"),
        (INFINITY, "Infinity"),
        (-INFINITY, "-Infinity"),
    ],
)
def test_numbers_are_written_as_in_javascript(value, text):
    assert validate.notation(value) == text
    assert validate.inspect(value) == f"Received type number ({text})"


@cases(
    ("text", "number"),
    [
        ("0", 0),
        ("80", 80),
        (" 80 ", 80),
        ("\n80\t", 80),
        ("\xa080\u2028", 80),
        ("\ufeff80", 80),
        ("+80", 80),
        ("-80", -80),
        ("00080", 80),
        ("80.0", 80),
        ("80.5", 80.5),
        ("5.", 5),
        (".5e1", 5),
        ("8e1", 80),
        ("8E+1", 80),
        ("1e-1", 0.1),
        ("1e400", INFINITY),
        ("0x50", 80),
        ("0X5a", 90),
        ("0o120", 80),
        ("0b1010000", 80),
        ("0x" + "f" * 300, INFINITY),
        ("", 0),
        (" \n", 0),
        ("Infinity", INFINITY),
        ("-Infinity", -INFINITY),
    ],
)
def test_js_number_takes_the_texts_of_javascript(text, number):
    assert validate.js_number(text) == number
    assert type(validate.js_number(text)) is float


@cases(
    "text",
    [
        *(
            "x",
            "80a",
            "1 2",
            "1_000",
            "٨٠",
            "²",
            ".",
            "e1",
            "1e",
            "1e+",
            "1.2.3",
            "--1",
            "+",
            "+-1",
        ),
        *("0x", "0xg", "-0x1", "+0x1", "0x1p3", "0o8", "0b2", "0x1.8", "0x_1", "0x 1"),
        *("nan", "NaN", "inf", "infinity", "Infinity1", "1e1.5", "\x1c80", "\x8580", "\u180e80"),
    ],
)
def test_js_number_takes_nothing_else(text):
    assert validate.js_number(text) is None


def test_js_number_strips_the_white_space_of_javascript_only():
    space = {char for char in map(chr, range(0x10000)) if validate.js_number(f"{char}8") == 8}
    # A plus and a zero are no space, but change nothing before an 8 either.
    assert "".join(sorted(space - set("+0"))) == (
        "\t\n\v\f\r \xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
        "\u2028\u2029\u202f\u205f\u3000\ufeff"
    )


def test_js_number_keeps_the_sign_of_zero():
    assert math.copysign(1, validate.js_number("-0")) == -1


@pytest.mark.parametrize("value", [0, 1.5, 10**400, NAN])
def test_as_number_returns_numbers(value):
    assert validate.as_number(value) is value


@cases("value", [None, True, False, "1", b"1", 1j, [], int, NoIndex()])
def test_as_number_refuses_all_others(value):
    assert validate.as_number(value) is None


def test_as_number_takes_what_can_be_an_index():
    assert validate.as_number(Index(5)) == 5


# What was received


@cases(
    ("value", "text"),
    [
        (None, "undefined"),
        (True, "type boolean (true)"),
        (False, "type boolean (false)"),
        ("", "type string ('')"),
        ("x", "type string ('x')"),
        ("a\nb\\c", "type string ('a\nb\\c')"),
        ('"', "type string ('\"')"),
        ("it's", 'type string ("it\'s")'),
        ('it\'s "q" `b`', 'type string ("it\'s \\"q\\" `b`")'),
        ("a\n'b\x01\\é€😀\u2028", 'type string ("a\\n\'b\\u0001\\\\é€😀\u2028")'),
        ("a" * 28, f"type string ('{'a' * 28}')"),
        ("a" * 29, f"type string ('{'a' * 25}...')"),
        ("'" + "x" * 40, f'type string ("\'{"x" * 24}...")'),
        ("😀" * 14, f"type string ('{'😀' * 14}')"),
        # Node cuts the pair in two; the half is escaped here, for Python could not print it.
        ("😀" * 15, f"type string ('{'😀' * 12}\\ud83d...')"),
        ("\udce9", "type string ('\\udce9')"),
        (function, "function function"),
        (lambda: 1, "function "),
        (Foo, "function Foo"),
        (len, "function len"),
        ([].append, "function append"),
        (functools.partial(function), "function "),
        (Callable(), "an instance of Callable"),
        (Foo(), "an instance of Foo"),
        (object(), "an instance of object"),
        ({}, "an instance of Object"),
        (dict.fromkeys("a").keys(), "an instance of dict_keys"),
        ([], "an instance of Array"),
        ((), "an instance of Array"),
        (List(), "an instance of List"),
        (b"", "an instance of Buffer"),
        (bytearray(), "an instance of Buffer"),
        (memoryview(b""), "an instance of Buffer"),
        (set(), "an instance of Set"),
        (TypeError("x"), "an instance of TypeError"),
        (1j, "an instance of complex"),
    ],
)
def test_inspect_says_what_kind_of_value_was_received(value, text):
    assert validate.inspect(value) == f"Received {text}"


SELF = {}
SELF["self"] = SELF
DEEP_SELF = {"x": {}}
DEEP_SELF["x"]["y"] = [DEEP_SELF, DEEP_SELF["x"]]


@cases(
    ("value", "text"),
    [
        (None, "undefined"),
        (True, "true"),
        ("x", "'x'"),
        ("it's", '"it\'s"'),
        ("it's \"q\"", '`it\'s "q"`'),
        ("it's \"q\" `b`", "'it\\'s \"q\" `b`'"),
        ("'\"${", "'\\'\"${'"),
        ("a\\b", "'a\\\\b'"),
        ("a\nb\tc\r\b\f\v\0\x01\x7f\x85\xa0", "'a\\nb\\tc\\r\\b\\f\\x0B\\x00\\x01\\x7F\\x85\xa0'"),
        ("é€😀\u2028", "'é€😀\u2028'"),
        ("a\ud800b", "'a\\ud800b'"),
        ("a" * 75 + "\n", f"'{'a' * 75}\\n'"),
        ("a" * 74 + "\nb", f"'{'a' * 74}\\nb'"),
        ("a" * 75 + "\nb", f"'{'a' * 75}\\n' +\n  'b'"),
        ("a" * 90 + "\n'\n\"", f"'{'a' * 90}\\n' +\n  \"'\\n\" +\n  '\"'"),
        ("a" * 10001, f"'{'a' * 10000}'... 1 more character"),
        (function, "[Function: function]"),
        (lambda: 1, "[Function (anonymous)]"),
        (coroutine_function, "[AsyncFunction: coroutine_function]"),
        (generator_function, "[GeneratorFunction: generator_function]"),
        (async_generator_function, "[AsyncGeneratorFunction: async_generator_function]"),
        (Foo, "[class Foo]"),
        (Bar, "[class Bar extends Foo]"),
        (Foo(), "Foo { a: 1 }"),
        (Bar(), "Bar { a: 1 }"),
        (Empty(), "Empty {}"),
        (object(), "object {}"),
        ({}, "{}"),
        ([], "[]"),
        ([1, 2, "x"], "[ 1, 2, 'x' ]"),
        ((1, None), "[ 1, undefined ]"),
        (List(), "List(0) []"),
        (List([1]), "List(1) [ 1 ]"),
        ({1}, "Set(1) { 1 }"),
        (frozenset(), "Set(0) {}"),
        ({"it's": 1, "a_b": 2, "$x": 3, "é": 4}, "{ \"it's\": 1, a_b: 2, '$x': 3, 'é': 4 }"),
        ({"": 2, "1x": 5, "A": 6, 10: 1}, "{ '': 2, '1x': 5, A: 6, '10': 1 }"),
        ([[1, [2, [3, [4]]]]], "[ [ 1, [ 2, [Array] ] ] ]"),
        ({"a": {"b": {"c": {"d": 1}}}}, "{ a: { b: { c: [Object] } } }"),
        ([[[{1}]]], "[ [ [ [Set] ] ] ]"),
        ([[[List([1])]]], "[ [ [ [List] ] ] ]"),
        ([[[Empty()]]], "[ [ [ Empty {} ] ] ]"),
        (b"", "<Buffer >"),
        (b"abc", "<Buffer 61 62 63>"),
        (bytearray(b"abc"), "<Buffer 61 62 63>"),
        (memoryview(b"abcdef")[::2], "<Buffer 61 63 65>"),
        (bytes(51), f"<Buffer {'00 ' * 50}... 1 more byte>"),
        (bytes(60), f"<Buffer {'00 ' * 50}... 10 more bytes>"),
        (ValueError("boom"), "[ValueError: boom]"),
        (ValueError(), "[ValueError]"),
        (UntellableError(), "[UntellableError]"),
        (SELF, "<ref *1> { self: [Circular *1] }"),
        (DEEP_SELF, "<ref *1> { x: <ref *2> { y: [ [Circular *1], [Circular *2] ] } }"),
        ({"k": "b" * 63}, f"{{\n  k: '{'b' * 63}'\n}}"),
        ({"k": "b" * 62}, f"{{ k: '{'b' * 62}' }}"),
        (["b" * 19, "d" * 19, "e" * 19], f"[ '{'b' * 19}', '{'d' * 19}', '{'e' * 19}' ]"),
        (
            ["b" * 20, "d" * 20, "e" * 20],
            f"[\n  '{'b' * 20}',\n  '{'d' * 20}',\n  '{'e' * 20}'\n]",
        ),
        (
            {"q": {"aaaa": "b" * 23, "cccc": "d" * 23}},
            f"{{\n  q: {{ aaaa: '{'b' * 23}', cccc: '{'d' * 23}' }}\n}}",
        ),
        (
            {"q": {"aaaa": "b" * 24, "cccc": "d" * 24}},
            f"{{\n  q: {{\n    aaaa: '{'b' * 24}',\n    cccc: '{'d' * 24}'\n  }}\n}}",
        ),
        (
            {"k": "a" * 73 + "\nb"},
            "{\n  k: '" + "a" * 73 + "\\n' +\n    'b'\n}",
        ),
        (set(range(102)), "Set(102) {\n  " + ",\n  ".join(map(str, range(100)))
            + ",\n  ... 2 more items\n}"),
    ],
)  # fmt: skip
def test_notation_writes_values_as_util_inspect(value, text):
    assert validate.notation(value) == text


# The makers of errors


@cases(
    ("expected", "text"),
    [
        ("string", "of type string"),
        (["string"], "of type string"),
        (["string", "number"], "one of type string or number"),
        (["string", "number", "boolean"], "one of type string, number, or boolean"),
        ("Foo", "an instance of Foo"),
        ("function", "of type function"),
        ("object", "of type object"),
        ("Object", "of type object"),
        (["Object", "string"], "one of type object or string"),
        (["Object", "Foo"], "an instance of Foo or Object"),
        (["object", "string", "Foo"], "of type string or an instance of Foo or Object"),
        (["string", "Buffer"], "of type string or an instance of Buffer"),
        (
            ["string", "Buffer", "TypedArray", "DataView"],
            "of type string or an instance of Buffer, TypedArray, or DataView",
        ),
        (
            ["string", "Buffer", "Uint8Array"],
            "of type string or an instance of Buffer or Uint8Array",
        ),
        (["Function", "AbortSignal"], "of type function or an instance of AbortSignal"),
        (["undefined", "string"], "of type string or undefined"),
        ("null", "null"),
        ("integer", "integer"),
        ("net.BlockList", "an net.BlockList"),
        (["string", "an Array-like"], "of type string or an an Array-like"),
        (["one", "two"], "one of one or two"),
        (["0", "1", "2"], "one of 0, 1, or 2"),
        (["Foo", "Bar", "x"], "an instance of Foo or Bar or x"),
        (["Array", "string[]"], "an instance of Array or string[]"),
        (["x y", "z w", "string"], "of type string or one of x y or z w"),
        (
            ["string", "number", "object", "Foo", "Bar", "Baz", "bar baz", "qux quux"],
            (
                "one of type string or number or an instance of Foo, Bar, Baz, or Object or one of "
                "bar baz or qux quux"
            ),
        ),
    ],
)
def test_arg_type_error_groups_what_was_expected(expected, text):
    error = validate.arg_type_error("x", expected, 1)
    assert type(error) is ArgTypeError
    assert error.code == "ERR_INVALID_ARG_TYPE"
    assert str(error) == f'The "x" argument must be {text}. Received type number (1)'


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("x", '"x" argument'),
        ("options.x", '"options.x" property'),
        ("options.a.b", '"options.a.b" property'),
        ("first argument", "first argument"),
        ("a.b argument", "a.b argument"),
        ("a b", '"a b" argument'),
    ],
)
def test_arg_type_error_calls_dotted_names_properties(name, subject):
    error = validate.arg_type_error(name, "string", None)
    assert str(error) == f"The {subject} must be of type string. Received undefined"


@cases(
    ("args", "text"),
    [
        (("hints", 999999), "The argument 'hints' is invalid. Received 999999"),
        (("options.x", "a"), "The property 'options.x' is invalid. Received 'a'"),
        (
            ("options.objectMode", True, "is not supported"),
            "The property 'options.objectMode' is not supported. Received true",
        ),
        (
            ("options", {}, 'must have the property "port" or "path"'),
            'The argument \'options\' must have the property "port" or "path". Received {}',
        ),
        (("x", "a" * 126), f"The argument 'x' is invalid. Received '{'a' * 126}'"),
        (("x", "a" * 127), f"The argument 'x' is invalid. Received '{'a' * 127}..."),
        (("x", bytes(60)), f"The argument 'x' is invalid. Received <Buffer {'00 ' * 40}..."),
        # Half a pair again, at the cut.
        (("x", "a" + "😀" * 70), f"The argument 'x' is invalid. Received 'a{'😀' * 63}..."),
        (("x", "😀" * 70), f"The argument 'x' is invalid. Received '{'😀' * 63}\\ud83d..."),
        (
            ("x", ("a" * 20 + "\n") * 5),
            "The argument 'x' is invalid. Received '"
            + "aaaaaaaaaaaaaaaaaaaa\\n' +\n  '" * 4
            + "aaaaaaaaaaa...",
        ),
    ],
)
def test_arg_value_error(args, text):
    error = validate.arg_value_error(*args)
    assert type(error) is ArgValueError
    assert error.code == "ERR_INVALID_ARG_VALUE"
    assert str(error) == text


@cases(
    ("value", "text"),
    [
        (-1, "-1"),
        (1000, "1000"),
        (1234567, "1234567"),
        (2**32, "4294967296"),
        (2**32 + 1, "4_294_967_297"),
        (-(2**32) - 1, "-4_294_967_297"),
        (4294967297.5, "4294967297.5"),
        (float(2**40), "1_099_511_627_776"),
        (2**64, "18_446_744_073_709_552_000"),
        (-1e20, "-100_000_000_000_000_000_000"),
        (1e21, "1e_+21"),
        (10**400, "Infinity"),
        (INFINITY, "Infinity"),
        (NAN, "NaN"),
        (None, "undefined"),
        (True, "true"),
        ("x", "'x'"),
        ("a" * 200, f"'{'a' * 200}'"),
        ([], "[]"),
    ],
)
def test_range_error_groups_the_digits_of_large_integers(value, text):
    error = validate.range_error("options.x", ">= 0 && <= 9", value)
    assert type(error) is RangeError
    assert error.code == "ERR_OUT_OF_RANGE"
    assert str(error) == (
        'The value of "options.x" is out of range. It must be >= 0 && <= 9. Received ' + text
    )


def test_bad_port_error():
    error = validate.bad_port_error("options.port", "x")
    assert type(error) is RangeError
    assert error.code == "ERR_SOCKET_BAD_PORT"
    assert str(error) == "options.port should be >= 0 and < 65536. Received type string ('x')."
    error = validate.bad_port_error("Port", 0, allow_zero=False)
    assert str(error) == "Port should be > 0 and < 65536. Received type number (0)."


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("foo", "foo"),
        (1, "1"),
        (None, "undefined"),
        ({}, "{}"),
        (True, "true"),
        ("\ud800", "\\ud800"),
    ],
)
def test_unknown_encoding_error(encoding, text):
    error = validate.unknown_encoding_error(encoding)
    assert type(error) is ArgTypeError
    assert error.code == "ERR_UNKNOWN_ENCODING"
    assert str(error) == f"Unknown encoding: {text}"


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["a"], 'The "a" argument must be specified'),
        (["a", "b"], 'The "a" and "b" arguments must be specified'),
        (["a", "b", "c"], 'The "a", "b", and "c" arguments must be specified'),
        (
            [["options", "port", "path"]],
            'The "options" or "port" or "path" argument must be specified',
        ),
        ([["a", "b"], "c"], 'The "a" or "b" and "c" arguments must be specified'),
    ],
)
def test_missing_args_error(names, text):
    error = validate.missing_args_error(*names)
    assert type(error) is ArgTypeError
    assert error.code == "ERR_MISSING_ARGS"
    assert str(error) == text


# The checks


def failure(check, *args):
    with pytest.raises((ArgTypeError, ArgValueError, RangeError)) as caught:
        check(*args)
    return caught.value.code, str(caught.value)


@pytest.mark.parametrize(
    ("check", "good", "bad", "expected"),
    [
        (validate.validate_string, ["", "x"], [None, 1, True, b"x", []], "string"),
        (validate.validate_boolean, [True, False], [None, 0, 1, "true", []], "boolean"),
        (validate.validate_function, [len, Foo, Callable()], [None, 1, "x", Foo()], "function"),
    ],
)
def test_checks_of_types(check, good, bad, expected):
    for value in good:
        assert check(value, "x") is value
    for value in bad:
        code, text = failure(check, value, "x")
        assert code == "ERR_INVALID_ARG_TYPE"
        assert text.startswith(f'The "x" argument must be of type {expected}. Received ')


@cases("value", [None, "1", True, False, b"", [], 1j])
@cases(
    "check",
    [
        validate.validate_number,
        validate.validate_integer,
        validate.validate_int32,
        validate.validate_uint32,
    ],
)
def test_checks_of_numbers_refuse_other_types(check, value):
    code, text = failure(check, value, "n")
    assert code == "ERR_INVALID_ARG_TYPE"
    assert text == f'The "n" argument must be of type number. {validate.inspect(value)}'


@pytest.mark.parametrize(
    ("args", "bad", "range_text"),
    [
        ((1,), [0, 0.5, NAN, -INFINITY], ">= 1"),
        ((None, 5), [6, 5.5, NAN, INFINITY], "<= 5"),
        ((1, 5), [0, 6, NAN, INFINITY, 10**400], ">= 1 && <= 5"),
        ((0, 2.5), [3], ">= 0 && <= 2.5"),
    ],
)
def test_validate_number_keeps_to_its_bounds(args, bad, range_text):
    for value in bad:
        assert failure(validate.validate_number, value, "n", *args) == (
            "ERR_OUT_OF_RANGE",
            str(validate.range_error("n", range_text, value)),
        )


def test_validate_number_returns_numbers_as_they_are():
    assert validate.validate_number(1, "n", 1, 1) == 1
    assert type(validate.validate_number(3.0, "n")) is float
    assert validate.validate_number(INFINITY, "n", 0) == INFINITY
    assert math.isnan(validate.validate_number(NAN, "n"))


def test_validate_integer_returns_ints():
    for value in (3, 3.0, Index(3)):
        result = validate.validate_integer(value, "n", 1, 5)
        assert result == 3
        assert type(result) is int
    assert validate.validate_integer(1, "n", 1, 5) == 1
    assert validate.validate_integer(5, "n", 1, 5) == 5


@cases(
    ("check", "args", "value", "range_text", "received"),
    [
        (validate.validate_integer, (1, 5), 0, ">= 1 && <= 5", "0"),
        (validate.validate_integer, (1, 5), 6.0, ">= 1 && <= 5", "6"),
        (validate.validate_integer, (1, 5), 3.5, "an integer", "3.5"),
        (validate.validate_integer, (1, 5), NAN, "an integer", "NaN"),
        (validate.validate_integer, (1, 5), INFINITY, "an integer", "Infinity"),
        (
            validate.validate_integer,
            (),
            1e20,
            ">= -9007199254740991 && <= 9007199254740991",
            "100_000_000_000_000_000_000",
        ),
        (validate.validate_int32, (), 2**31, ">= -2147483648 && <= 2147483647", "2147483648"),
        (validate.validate_int32, (1,), 0, ">= 1 && <= 2147483647", "0"),
        (validate.validate_uint32, (), -1, ">= 0 && <= 4294967295", "-1"),
        (validate.validate_uint32, (), 2**32, ">= 0 && <= 4294967295", "4294967296"),
    ],
)
def test_checks_of_integers_keep_to_their_bounds(check, args, value, range_text, received):
    assert failure(check, value, "n", *args) == (
        "ERR_OUT_OF_RANGE",
        f'The value of "n" is out of range. It must be {range_text}. Received {received}',
    )


@cases(
    ("value", "port"),
    [
        *((0, 0), ("0", 0), ("-0", 0), (65535, 65535), (80.0, 80), (Index(80), 80)),
        *((text, 80) for text in ("80", " 80 ", "\n80\t", "+80", "80.0", "8e1", "00080")),
        *((text, 80) for text in ("0x50", "0X50", "0o120", "0b1010000", "\xa080\u2028")),
    ],
)
def test_validate_port_returns_ints(value, port):
    result = validate.validate_port(value, "Port")
    assert result == port
    assert type(result) is int


@cases(
    "value",
    [
        *("", " ", "\t\n", "x", "80a", "0x", "-0x1", "+0x1", "80.5", "1e-1", "65536", "-1"),
        *("Infinity", "1e400", "1_000", "٨٠", ".", "0x1p3", "\x1c80"),
        *(-1, 65536, 80.5, NAN, INFINITY, -INFINITY, 10**400),
        *(None, True, False, b"80", [80], {}, Foo()),
    ],
)
def test_validate_port_refuses_what_is_no_port(value):
    assert failure(validate.validate_port, value, "Port") == (
        "ERR_SOCKET_BAD_PORT",
        f"Port should be >= 0 and < 65536. {validate.inspect(value)}.",
    )


@pytest.mark.parametrize("value", [0, 0.0, "0", "x"])
def test_validate_port_may_refuse_zero(value):
    assert validate.validate_port(1, "Port", False) == 1
    assert failure(validate.validate_port, value, "Port", False) == (
        "ERR_SOCKET_BAD_PORT",
        f"Port should be > 0 and < 65536. {validate.inspect(value)}.",
    )


class Signal:
    aborted = False

    def on(self, event, listener):
        pass


class ListenerSignal:
    aborted = True

    def add_listener(self, event, listener):
        pass


class NoEvents:
    aborted = False


class NoSignal:
    def on(self, event, listener):
        pass


@pytest.mark.parametrize("signal", [None, Signal(), ListenerSignal()])
def test_validate_abort_signal_takes_what_behaves_like_one(signal):
    assert validate.validate_abort_signal(signal, "options.signal") is signal


@cases("value", [1, True, "x", {}, len, NoEvents(), NoSignal()])
def test_validate_abort_signal_refuses_all_others(value):
    assert failure(validate.validate_abort_signal, value, "options.signal") == (
        "ERR_INVALID_ARG_TYPE",
        'The "options.signal" property must be an instance of AbortSignal. '
        + validate.inspect(value),
    )


def test_validate_high_water_mark_of_a_stream_is_exact():
    assert validate.validate_high_water_mark(None, "n") == -1
    assert validate.validate_high_water_mark(8.0, "n") == 8
    for value in (-1, 1.5, NAN, INFINITY, 2**53, True, "8"):
        assert failure(validate.validate_high_water_mark, value, "n") == (
            "ERR_INVALID_ARG_VALUE",
            str(validate.arg_value_error("n", value)),
        )


def test_validate_high_water_mark_of_a_server_is_as_in_node():
    for value in (None, -1, -INFINITY):
        assert validate.validate_high_water_mark(value, "n", True) == -1
    assert validate.validate_high_water_mark(8.9, "n", True) == 8
    for value in (NAN, INFINITY, 2**53):
        code, _ = failure(validate.validate_high_water_mark, value, "n", True)
        assert code == "ERR_INVALID_ARG_VALUE"
    for value in (True, "8"):
        code, _ = failure(validate.validate_high_water_mark, value, "n", True)
        assert code == "ERR_INVALID_ARG_TYPE"
