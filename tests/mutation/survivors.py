"""The mutants that no test notices, and why that is right. `tests.mutation.run` names every survivor that is not here,
and every entry that is no survivor any more.

A mutant is named by its module, its function or class, and the change.
"""

SURVIVORS: dict[tuple[str, str, str], str] = {
    ("policy/lookups.py", "said", "1 → 2"): "one character more is looked at, and cut off all the same",
    ("inspect/outlook.py", "protection", "'' → '~'"): "no code begins so, as none begins with nothing",
    ("policy/require.py", "_require_by_rule", "'' → '~'"): "without a rule its source is never told",
    ("routing/rules.py", "module", "3 → 4"): "only the order of the strictnesses counts",
    (
        "identity/certificates.py",
        "parse_certificate",
        "extension.value.get_values_for_type(x509.DNSName) → pass",
    ): "no name is known that is read without complaint and fails here; asked now so that nothing could fail later",
    (
        "identity/certificates.py",
        "parse_certificate",
        "spki(certificate) → pass",
    ): "no certificate is known that `cryptography` reads and whose key cannot be cut out; asked now, as above",
    (
        "identity/certificates.py",
        "spki",
        "raise InvalidCertificate(f'its SubjectPublicKeyInfo cannot be read: {error}') from None → pass",
    ): "no certificate is known that comes here",
    (
        "identity/certificate_names.py",
        "presented_names",
        "for attribute in attributes if isinstance(attribute.value, str) → for attribute in attributes",
    ): "`cryptography` refuses a common name that is no text; the filter tells the type checker so",
    (
        "identity/path.py",
        "_check_authority",
        'raise ValueError("it is not an authority\'s certificate") → pass',
    ): "`cryptography` asks for cA itself today; this holds should it ever leave that to the policy",
    (
        "identity/signers.py",
        "_verify",
        "…a.RSAPublicKey) and isinstance(para… → …a.RSAPublicKey) or isinstance(para…",
    ): "a key and a signature of two kinds end in an error of another name, and in False all the same",
}
