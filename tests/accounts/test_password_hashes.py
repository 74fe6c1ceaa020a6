"""Hashes that databases of Dovecot and Postfix keep: made by doveadm, checked here."""

import subprocess

import pytest

from letterlock.accounts import system_crypt
from letterlock.accounts.password_hashes import PasswordHashes, UnusableHash, false_credential, parse_hashes
from letterlock.accounts.system_crypt import crypted
from letterlock.sasl.scram import ScramCredential

PASSWORD = "correct horse"
# Made by `doveadm pw -s SCHEME -p 'correct horse'` of Dovecot 2.3.19, and by Debian's mkpasswd (yescrypt).
MADE = {
    "ARGON2ID": "$argon2id$v=19$m=65536,t=3,p=1$AEGV+DSP+V2fkpiqVaEHdA$zN52f1/abJrT6TrdsDNFQMRXTqnG6AlETDDh53cYylI",
    "SCRAM-SHA-256": "4096,ODhUEox1y+RH3HGvMeUiIQ==,g4KqFGAYAFDutv3ag5LQsUqBe2XcUApy+A/Jy0/jiDY=,"
    "bAcscHznnFMtkc6uvQd95umfJY5fCqhk4NBpC+wi/6U=",
    "BLF-CRYPT": "$2y$05$sV6WVs6kQ0m4DN444NuWlemrFANo8tW/PDyE8x3eKmzAaMqnopU9S",
    "SHA512-CRYPT": "$6$ub3gbK9XeyvLvawS$MdGnkTm.K4e/KB3Tqkm2PbQbkQOFCPRCB0l8vD7fOWHldPOtI1i83fRHgJ7yalOKZ1bqLS7Ed"
    "kcXnaCbXgAEn.",
    "SHA256-CRYPT": "$5$ZIeLGZUSUSer5HSa$BCsUAfwD7qi3li33yXEAyuXgGLylRHNE9GiHpnvfyk4",
    "CRYPT": "$2y$05$reMe2CzH44ogINi4wqHTruLJqJKm.BCG3Iub2J7dVcyHoJbbdxe7u",
}


@pytest.mark.parametrize("scheme", MADE)
@pytest.mark.parametrize("form", ["{%s}%s", "{%s}%s lower", "%.0s%s"], ids=["braces", "lower case", "bare"])
def test_the_hashes_of_other_servers(scheme: str, form: str) -> None:
    if scheme == "SCRAM-SHA-256" and not form.startswith("{"):
        return  # Dovecot's form needs its name
    text = f"{{{scheme.lower()}}}{MADE[scheme]}" if "lower" in form else form % (scheme, MADE[scheme])
    hashes = parse_hashes(text)
    assert hashes.fit(PASSWORD)
    assert not hashes.fit(PASSWORD + "x")
    assert MADE[scheme] not in repr(hashes)


def test_doveadm_agrees_still() -> None:
    """One scheme, made now."""
    command = ["doveadm", "pw", "-s", "SHA512-CRYPT", "-r", "1000", "-p", PASSWORD]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert parse_hashes(made).fit(PASSWORD)


def test_yescrypt_which_debian_s_shadow_file_has() -> None:
    made = crypted(PASSWORD, "$y$j9T$abcdefgh$")
    assert made is not None
    assert parse_hashes(made).fit(PASSWORD)
    assert not parse_hashes(made).fit("x")


def test_a_hash_and_a_scram_credential_together() -> None:
    credential = ScramCredential.of_password(PASSWORD, b"0123456789abcdef")
    hashes = parse_hashes(f"{MADE['SHA256-CRYPT']} {credential}")
    assert hashes.scram == credential
    assert hashes.fit(PASSWORD)
    assert parse_hashes(str(credential)).fit(PASSWORD), "PLAIN can be checked by the SCRAM credential, too"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "one to 8 hashes"),
        ("secret", "no hash that is supported"),
        ("{PLAIN}secret", "{PLAIN} is not supported"),
        ("{SSHA512}c2VjcmV0", "{SSHA512} is not supported"),
        ("{MD5-CRYPT}$1$abc$iUbCWW89D2V9MXDEFGV8x0", "{MD5-CRYPT} is not supported"),
        ("{CRYPT}$1$abc$iUbCWW89D2V9MXDEFGV8x0", "{CRYPT} is not supported"),
        ("$argon2id$v=19$m=9999999,t=3,p=1$AEGV$zN52", "costs too much"),
        ("$argon2id$v=19$m=65536,t=99,p=1$AEGV$zN52", "costs too much"),
        ("$argon2id$v=19$m=65536,t=3,p=1$AEGV$zN52", "cannot be computed"),
        (MADE["ARGON2ID"].replace("t=3", "t=0"), "cannot be computed"),
        (MADE["ARGON2ID"].replace("p=1", "p=0"), "cannot be computed"),
        (MADE["ARGON2ID"].replace("m=65536", "m=7"), "cannot be computed"),
        (MADE["ARGON2ID"] + "AA", "cannot be computed"),
        ("$6$rounds=999999999$" + MADE["SHA512-CRYPT"][3:], "costs too much"),
        ("$2y$31$" + MADE["BLF-CRYPT"][7:], "no hash"),
        ("$y$jFT$abcdefgh$" + "a" * 43, "no hash"),
        ("{SCRAM-SHA-256}99999999,a,b,c", "no SCRAM"),
        ("x" * 600, "at most 512"),
    ],
)
def test_hashes_that_are_not_supported_or_cost_too_much(text: str, why: str) -> None:
    with pytest.raises(UnusableHash, match=why) as caught:
        parse_hashes(text)
    assert "c2VjcmV0" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_system_without_the_library_lets_nobody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_crypt, "LIBRARIES", ("libnowhere.so.9",))
    monkeypatch.setattr(system_crypt, "_crypt_r", system_crypt._crypt_r.__wrapped__)
    with pytest.raises(UnusableHash):  # not "wrong": nobody knows
        parse_hashes(MADE["SHA256-CRYPT"]).fit(PASSWORD)
    assert not PasswordHashes().fit("")


def test_a_false_credential_looks_like_the_true_ones() -> None:
    like = ScramCredential.of_password(PASSWORD, b"salt of 20 octets 20", 5000)
    one, again = (false_credential(b"secret", "eve", like) for _ in range(2))
    assert one == again
    assert (len(one.salt), one.iterations) == (20, 5000)
    assert false_credential(b"secret", "eva", like).salt != one.salt
    assert false_credential(b"other", "eve", None).salt != one.salt[:16]
