"""The fixtures of deliver serve here too."""

from tests.deliver.conftest import context, credential, dialer, issuer

__all__ = ["context", "credential", "dialer", "issuer"]
