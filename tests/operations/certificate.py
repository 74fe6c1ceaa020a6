"""Certificates of relay.example.org for a machine of tests/operations, from an authority that its system trusts.

    python -m tests.operations.certificate DIRECTORY

Writes expired-cert.pem, expired-key.pem, new-cert.pem and new-key.pem.
"""

import datetime as dt
import sys
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from tests.certificates import DAY, authority

ROOTS = Path("/etc/ssl/certs/ca-certificates.crt")


def main(directory: Path) -> None:
    """Write them, and add the authority to the system's."""
    issuer, now = authority("Root of the Machine"), dt.datetime.now(dt.UTC)
    with ROOTS.open("ab") as roots:
        roots.write(issuer.credential.certificate.public_bytes(Encoding.PEM))
    for name, ends in (("expired", now - DAY), ("new", now + 90 * DAY)):
        leaf = issuer.leaf("relay.example.org", not_before=now - 90 * DAY, not_after=ends)
        certificate, key = leaf.write(directory, name)
        certificate.rename(directory / f"{name}-cert.pem")
        key.rename(directory / f"{name}-key.pem")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
