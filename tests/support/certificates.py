"""Certificates for the tests, made once in each run by the program openssl.

The folder has NAME.key and NAME.pem of: ca, whose certificates are good; server (localhost,
*.wild.example and 127.0.0.1); other (other.example); client (alice); expired; self, which has
signed itself; rsa, as server, but with such a key; middle, an authority below ca; and chained
(localhost), which middle has signed.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
RSA = ["-newkey", "rsa:2048"]
LOCALHOST = "subjectAltName=DNS:localhost,DNS:*.wild.example,IP:127.0.0.1"


def _openssl(folder: Path, *arguments: str, text: str = "") -> None:
    subprocess.run(
        ["openssl", *arguments], cwd=folder, input=text, capture_output=True, text=True, check=True
    )


def _itself(folder: Path, name: str, subject: str, *extensions: str) -> None:
    """A certificate that has signed itself."""
    ends = ["-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "3650", "-subj", subject]
    more = [part for extension in extensions for part in ("-addext", extension)]
    _openssl(folder, "req", "-x509", *EC, "-nodes", *ends, *more)


def _signed(
    folder: Path,
    name: str,
    subject: str,
    extension: str,
    days: str = "3650",
    key: list[str] = EC,
    by: str = "ca",
) -> None:
    """A certificate of an authority."""
    request = ["-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject]
    _openssl(folder, "req", *key, "-nodes", *request)
    # From 3.13 on Python's default context wants all that the standard does.
    more = "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
    (folder / "extensions").write_text(f"{extension}\n{more}")
    authority = ["-CA", f"{by}.pem", "-CAkey", f"{by}.key", "-CAcreateserial", "-days", days]
    ends = ["-in", f"{name}.csr", "-out", f"{name}.pem", "-extfile", "extensions"]
    _openssl(folder, "x509", "-req", *authority, *ends)


@functools.cache
def certificates() -> Path:
    """The folder, which goes with the process."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, True)
    authority = "basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"
    _itself(folder, "ca", "/CN=Test CA", *authority)
    _itself(folder, "self", "/CN=localhost", "subjectAltName=DNS:localhost")
    _signed(folder, "server", "/CN=localhost", LOCALHOST)
    _signed(folder, "rsa", "/CN=localhost", LOCALHOST, key=RSA)
    _signed(folder, "other", "/CN=other.example", "subjectAltName=DNS:other.example")
    _signed(folder, "client", "/CN=alice/O=Testers", "extendedKeyUsage=clientAuth")
    _signed(folder, "middle", "/CN=Test middle", "\n".join(authority))
    _signed(folder, "chained", "/CN=localhost", LOCALHOST, by="middle")
    _signed(folder, "expired", "/CN=localhost", LOCALHOST, days="-1")
    return folder
