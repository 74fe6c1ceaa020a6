"""Is a certification path valid (RFC 5280 section 6.1): OpenSSL's verdict, and the rules where mail is stricter.

Mail's authorities are laxer than the web's: own CAs made by one `openssl req -x509`, without key identifiers, leaves
without extended key usage. OpenSSL accepts those, and checks signatures, basicConstraints, path lengths, keyUsage,
name constraints, and critical extensions. Stricter here: basicConstraints on every issuer but the anchor, and extended
key usage all the way up. Keys and hashes are judged while the path is sought (`path`), and dates apart, so that
"expired" can be distinguished from "invalid". Verdicts use our own wording: no text of a library leaves this room.
"""

from collections.abc import Sequence
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import crypto

from letterlock.identity.certificates import as_datetime, subject_of

# Comparing a name with a name constraint costs OpenSSL up to 0.1 microseconds; a real leaf has 100 names, a real
# authority 20 constraints.
MAX_NAME_COMPARISONS = 50_000
_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, which pyOpenSSL does not name
_FLAGS = crypto.X509StoreFlags.PARTIAL_CHAIN | _NO_CHECK_TIME  # every anchor will do, self-signed or not
_SERVER_USAGES = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)
# The meaning of X509_V_ERR_* codes; codes keep their number from one release of OpenSSL to the next.
_FAULTS = {
    1: "the chain below {0} cannot be checked",
    2: "the certificate of {0} and its issuer's do not fit together",
    7: "the signature on the certificate of {0} is wrong",
    18: "{0} is self-signed and not among the trusted certificates",
    19: "{0} is self-signed and not among the trusted certificates",
    20: "the certificate of {0} and its issuer's do not fit together",
    25: "more authorities stand below {0} than it allows (pathLenConstraint)",
    26: "the certificate of {0} is for another purpose",
    32: "{0} may not sign certificates (keyUsage)",
    34: "the certificate of {0} has a critical extension that is not known",
    40: "{0} has a proxy certificate, which counts for nothing here",
    41: "the certificate of {0} has an extension that cannot be read or contradicts another",
    42: "the certificate of {0} has a policy extension that cannot be read",
    45: "the certificate of {0} has an extension with a part that is not supported",
    46: "the certificate of {0} has addresses that its issuer does not have (RFC 3779)",
    47: "a name of {0} is outside the name constraints of an authority above",
    48: "a name of {0} is excluded by the name constraints of an authority above",
    49: "the name constraints above {0} have a minimum or maximum, which is not supported",
    51: "the name constraints above {0} are of a kind that is not supported",
    52: "the name constraints above {0} cannot be read",
    53: "a name of {0} cannot be compared with the name constraints above",
    76: "the signature on the certificate of {0} is by an algorithm that is not supported",
    77: "the signature on the certificate of {0} is of another kind than its issuer's key",
    78: "the certificate of {0} names two different algorithms for its signature",
    79: "{0} is not a certificate authority",
    94: "the key of {0} has explicit curve parameters, which are not supported",
}


def path_fault(path: Sequence[x509.Certificate]) -> str | None:
    """Why a path, from the server's certificate to an anchor, is not valid whatever the time; None if it is."""
    return _leaf_fault(path[0]) or _issuers_fault(path) or _openssl_fault(path)


def dates_fault(certificate: x509.Certificate, now: float) -> str | None:
    """What is wrong with the dates of a certificate at `now`."""
    moment = as_datetime(now)
    if moment > certificate.not_valid_after_utc:
        return f"the certificate of {subject_of(certificate)} expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
    if moment < certificate.not_valid_before_utc:
        begin = certificate.not_valid_before_utc
        return f"the certificate of {subject_of(certificate)} is valid only from {begin:%Y-%m-%d} on"
    return None


NameKey = tuple[tuple[tuple[str, str], ...], ...]


def subject_key(certificate: x509.Certificate) -> NameKey:
    """The subject for comparison: case and runs of blanks do not count (RFC 5280 section 7.1)."""
    return _name_key(certificate.subject)


def issuer_key(certificate: x509.Certificate) -> NameKey:
    """The issuer for comparison, as `subject_key`."""
    return _name_key(certificate.issuer)


def _name_key(name: x509.Name) -> NameKey:
    return tuple(tuple(sorted((one.oid.dotted_string, _folded(one.value)) for one in rdn)) for rdn in name.rdns)


def _folded(value: str | bytes) -> str:
    return " ".join(value.split()).casefold() if isinstance(value, str) else value.hex()


def key_identifiers_fit(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the issuer's key identifier is the one that the certificate names, where both have one."""
    named, own = authority_key_identifier(certificate), subject_key_identifier(issuer)
    return named is None or own is None or named == own


def authority_key_identifier(certificate: x509.Certificate) -> bytes | None:
    """The identifier of the key that signed the certificate, as far as it says."""
    found = _extension(certificate, x509.AuthorityKeyIdentifier)
    return found.key_identifier if found else None


def subject_key_identifier(certificate: x509.Certificate) -> bytes | None:
    """The identifier of the certificate's own key, as far as it says."""
    found = _extension(certificate, x509.SubjectKeyIdentifier)
    return found.digest if found else None


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:  # the caller knows what its absence means (RFC 5280 section 4.2)
        return None


def _leaf_fault(leaf: x509.Certificate) -> str | None:
    usage = _extension(leaf, x509.KeyUsage)  # any of these bits serves some TLS key exchange (RFC 5280 section 4.2.1.3)
    if usage and not (usage.digital_signature or usage.key_encipherment or usage.key_agreement):
        return "its keyUsage does not allow TLS"
    return "its extended key usage does not allow TLS servers" if _for_others(leaf) else None


def _for_others(certificate: x509.Certificate) -> bool:
    """Whether an extended key usage leaves out TLS servers."""
    extended = _extension(certificate, x509.ExtendedKeyUsage)
    return extended is not None and not _SERVER_USAGES.intersection(extended)


def _issuers_fault(path: Sequence[x509.Certificate]) -> str | None:
    for issuer in path[1:]:
        constraints, usage = _extension(issuer, x509.BasicConstraints), _extension(issuer, x509.KeyUsage)
        if constraints is not None and not constraints.ca:
            return f"{subject_of(issuer)} is not a certificate authority (basicConstraints)"
        if constraints is None and issuer != path[-1]:  # RFC 5280 section 6.1.4 (k); an anchor is trusted as it is
            return f"{subject_of(issuer)} is not a certificate authority (no basicConstraints)"
        if usage and not usage.key_cert_sign:
            return f"{subject_of(issuer)} may not sign certificates (keyUsage)"
        if _for_others(issuer):
            return f"the extended key usage of its issuer {subject_of(issuer)} does not allow TLS servers"
    return None


def _openssl_fault(path: Sequence[x509.Certificate]) -> str | None:
    if _name_comparisons(path) > MAX_NAME_COMPARISONS:
        return "its names and the name constraints above it are too many to compare"
    leaf, *issuers = (_for_openssl(one) for one in path)
    anchor = issuers[-1] if issuers else leaf
    if leaf is None or anchor is None or None in issuers:
        return "its chain holds a certificate that cannot be read"
    store = crypto.X509Store()
    store.set_flags(_FLAGS)
    store.add_cert(anchor)
    try:
        crypto.X509StoreContext(store, leaf, [one for one in issuers if one is not None]).verify_certificate()
    except crypto.X509StoreContextError as error:
        return _say(error.errors[0], path[min(error.errors[1], len(path) - 1)])
    return None


def _say(code: int, certificate: x509.Certificate) -> str:
    words = _FAULTS.get(code, f"the certificate of {{0}} is not valid (code {code})")
    return words.format(subject_of(certificate))


def _name_comparisons(path: Sequence[x509.Certificate]) -> int:
    constraints = [_extension(one, x509.NameConstraints) for one in path]
    subtrees = sum(len(one.permitted_subtrees or ()) + len(one.excluded_subtrees or ()) for one in constraints if one)
    if not subtrees:
        return 0
    names = [_extension(one, x509.SubjectAlternativeName) for one in path]
    return subtrees * sum(1 + len(tuple(one)) if one else 1 for one in names)


def _for_openssl(certificate: x509.Certificate) -> crypto.X509 | None:
    try:
        return crypto.load_certificate(crypto.FILETYPE_ASN1, certificate.public_bytes(Encoding.DER))
    except crypto.Error:  # the caller fails closed
        return None
