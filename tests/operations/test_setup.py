"""docs/guides/setup.md: from an empty machine to delivered mail, by the commands of the guide."""

from tests.operations.machine import blocks, run

SUBMIT = """
import smtplib, ssl, sys
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
with smtplib.SMTP_SSL("127.0.0.1", 465, context=context) as client:
    client.login("ann@example.org", sys.argv[1])
    for recipient in ("ann@example.org", "friend@example.net"):
        client.sendmail("ann@example.org", [recipient], b"From: ann@example.org\\r\\nSubject: sent\\r\\n\\r\\nx\\r\\n")
with smtplib.SMTP("127.0.0.1", 25, source_address=("192.0.2.99", 0)) as stranger:
    stranger.helo("mx.example.net")
    stranger.sendmail("friend@example.net", ["postmaster@example.org"], b"Subject: received\\r\\n\\r\\nx\\r\\n")
    for recipient in ("nobody@example.org", "else@example.net"):
        stranger.mail("friend@example.net")
        print("stranger to", recipient, stranger.rcpt(recipient)[0])
        stranger.rset()
"""


def test_from_an_empty_machine_to_delivered_mail() -> None:
    """A user logs in and sends to herself and outside; a stranger writes to postmaster, and may not relay."""
    make, check = blocks("guides/setup.md")
    installing = 1  # the package, or a virtual environment and a unit
    assert installing + len(make.splitlines()) + len(check.splitlines()) < 10
    # The other mail server of this world has port 25 of 192.0.2.15, so that not all addresses can be had.
    elsewhere = 'sed -i \'s/"0.0.0.0:25", .*/"192.0.2.10:25", "127.0.0.1:25"]/\' /etc/letterlock/letterlock.toml'
    first, _, others = make.partition("\n")
    done = run(
        f"""
useradd --system --home-dir /var/lib/letterlock --shell /usr/sbin/nologin letterlock
cp /opt/letterlock/packaging/letterlock.service /etc/systemd/system/
alias letterlock=/opt/letterlock/.venv/bin/letterlock
{first}
{elsewhere}
{others}
cat >/root/submit.py <<'PYTHON'
{SUBMIT}PYTHON
{check}
make_password() {{ letterlock users passwd ann@example.org; }}
echo correct-horse-battery | make_password
$PYTHON /root/submit.py correct-horse-battery
until_ arrived 1
in_mailbox() {{ [ "$(ls /var/mail/letterlock/example.org/ann/new 2>/dev/null | wc -l)" = "$1" ]; }}
until_ in_mailbox 2
cat /var/mail/letterlock/example.org/ann/new/* /var/world/mail/*
cat /etc/systemd/system/letterlock.service.d/setup.conf
"""
    )
    assert [*done.failed] == [first, check.splitlines()[0]], done.out  # port 25; and nothing is published yet
    done.says("user ann@example.org has the password", "no mistakes", "^example.org. IN MX 10 relay.example.org.")
    done.says("^error +example.org MX is missing: 10 relay.example.org.", "relay.example.org A is missing")
    done.says(
        "stranger to nobody@example.org 550", "stranger to else@example.net 55", "^DKIM-Signature: .*d=example.org"
    )
    done.says(
        "^Subject: received", "^Authentication-Results: relay.example.org", "ReadWritePaths=.*/var/mail/letterlock"
    )
