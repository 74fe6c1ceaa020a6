"""For which names a certificate speaks: DNS-IDs by RFC 9525, common names where RFC 7672 section 3.2.3 has them."""

from collections.abc import Sequence

from cryptography import x509

from letterlock.identity.certificates import shown

MAX_PRESENTED_NAMES = 1000  # chosen: real certificates have some 100; more names would only cost time
_MIN_LABELS_BELOW_WILDCARD = 2  # chosen: `*.org` would cover every domain of a registry


def dns_ids(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS-IDs: dNSName entries of subjectAltName, as they stand, at most MAX_PRESENTED_NAMES."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(names.get_values_for_type(x509.DNSName)[:MAX_PRESENTED_NAMES])


def presented_names(certificate: x509.Certificate, *, common_name: bool) -> tuple[str, ...]:
    """The presented identifiers: the DNS-IDs; with `common_name`, the CNs when there is no DNS-ID (RFC 7672 3.2.3)."""
    identifiers = dns_ids(certificate)
    if identifiers or not common_name:
        return identifiers
    attributes = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[:MAX_PRESENTED_NAMES]
    return tuple(attribute.value for attribute in attributes if isinstance(attribute.value, str))


def name_matches(presented: str, reference: str) -> bool:
    """Whether a presented DNS-ID speaks for a reference identifier (RFC 9525 section 6.3).

    Both in A-labels, case ignored. A wildcard counts only as the whole left-most label, for exactly one label, and
    with at least two labels below it.
    """
    presented, reference = presented.lower().removesuffix("."), reference.lower().removesuffix(".")
    if not presented or not presented.isascii() or not reference:
        return False
    if "*" not in presented:
        return presented == reference
    star, _, parent = presented.partition(".")
    label, _, reference_parent = reference.partition(".")
    if star != "*" or "*" in parent or parent.count(".") + 1 < _MIN_LABELS_BELOW_WILDCARD:
        return False
    return bool(label) and label != "*" and parent == reference_parent


def match_names(certificate: x509.Certificate, references: Sequence[str], *, common_name: bool) -> str | None:
    """The first reference identifier that the certificate speaks for, or None."""
    presented = presented_names(certificate, common_name=common_name)
    return next((name for name in references if any(name_matches(one, name) for one in presented)), None)


def say_names(certificate: x509.Certificate, *, common_name: bool) -> str:
    """The presented identifiers for people: the first three and how many more."""
    names = presented_names(certificate, common_name=common_name)
    if not names:
        return "no name at all" if common_name else "no DNS name in subjectAltName"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(map(shown, names[:3])) + more
