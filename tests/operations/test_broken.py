"""docs/operations, what is broken: each disaster is caused, and repaired by the commands of its page alone."""

import sys

from tests.operations.machine import ROOT, blocks, prepared, run

KEYED = "sed -i '/^directory/a key_file = \"/etc/letterlock/queue.key\"' /etc/letterlock/letterlock.toml"
NEW_KEY = "openssl rand -base64 32 >/etc/letterlock/queue.key; chown letterlock /etc/letterlock/queue.key"
FIRST_IDS = "$(letterlock queue list --json | jq -r '.messages[:2][].id')"


def test_full_disk() -> None:
    """Something fills the disk of the queue; new mail is refused, and kept by sendmail, until it is deleted."""
    [look] = blocks("operations/full-disk.md")
    done = run(f"""
{prepared()}
lose_dns
send 2
systemctl stop letterlock
mkdir /root/aside
mv /var/lib/letterlock/* /root/aside/
mount -t tmpfs -o size=64m,mode=700,uid=$(id -u letterlock),gid=$(id -g letterlock) tmpfs /var/lib/letterlock
mv /root/aside/* /var/lib/letterlock/
systemctl start letterlock
fallocate -l 40m /var/lib/letterlock/of-something-else
sleep 6
send 1
until_ logged 'no new mail is accepted'
{look}
q remove --sender me@example.org --yes
rm /var/lib/letterlock/of-something-else
find_dns
sleep 6
send 1
until_ flushed 2
""")
    assert not done.failed, done.out
    done.says("letterlock$", r"me@example\.org +2 ", "^2 messages removed")


def test_lost_key() -> None:
    """The key goes away, comes back from a copy, and is lost for good; then it is found."""
    restore, begin_anew = blocks("operations/lost-key.md")
    done = run(
        f"""
{prepared()}
{KEYED}
{NEW_KEY}
systemctl stop letterlock
rm -r /var/lib/letterlock
systemctl start letterlock
lose_dns
send 2
cp /etc/letterlock/queue.key /root/copy
rm /etc/letterlock/queue.key
systemctl restart letterlock
journalctl -u letterlock -n 4
{restore}
until_ waiting 2
systemctl stop letterlock
rm /etc/letterlock/queue.key
{begin_anew}
q stats
systemctl stop letterlock
mv /var/lib/letterlock /var/lib/letterlock.new
mv /var/lib/letterlock.lost /var/lib/letterlock
systemctl start letterlock
journalctl -u letterlock -n 3
{restore}
find_dns
until_ flushed 2
""",
        {"/path/of/the/copy": "/root/copy"},
    )
    assert list(done.failed.values()) == [1, 1], done.out
    done.says("/etc/letterlock/queue.key does not exist", "The queue is empty", "encrypted with another key than")


def test_lost_dns() -> None:
    """The distant resolver that is configured goes away for an hour."""
    diagnose, repair = blocks("operations/lost-dns.md")
    done = run(f"""
{prepared()}
configure '"127.0.0.1"' '"192.0.2.53"'
systemctl restart letterlock
touch /var/world/no-distant-dns
sleep 0.5
send 2
until_ logged rfc7672-2.1.2-no-resolver
{diagnose}
configure '"192.0.2.53"' '"127.0.0.1"'
{repair}
until_ arrived 2
""")
    assert done.failed == {"letterlock resolve . DNSKEY --upstream 192.0.2.53": 3}, done.out
    done.says("no-upstream", "secure", r"^rfc7672-2\.1\.2-no-resolver +2 ")


def test_expired_certificate() -> None:
    """The listener's certificate has expired, and is renewed without a session lost."""
    check, renew = blocks("operations/expired-certificate.md")
    done = run(f"""
{prepared()}
cd {ROOT}
{sys.executable} -m tests.operations.certificate /root
cd /root
install -o letterlock -m 0400 expired-key.pem /etc/letterlock/key.pem
install -o letterlock -m 0444 expired-cert.pem /etc/letterlock/cert.pem
sed -i '/^listen/a certificate = "/etc/letterlock/cert.pem"' /etc/letterlock/letterlock.toml
sed -i '/^listen/a key = "/etc/letterlock/key.pem"' /etc/letterlock/letterlock.toml
systemctl restart letterlock
{check}
{renew}
""")
    assert [*done.failed.values()] == [1, 1], done.out
    done.says("Certificate will expire", "outside its validity period", "^NOT CLEARED|NOT CLEARED", "no mistakes")
    assert done.out.rstrip().rpartition("no mistakes")[2].count("NOT CLEARED") == 0


def test_broken_upstream() -> None:
    """The upstream strips signatures; another one is configured."""
    diagnose, repair = blocks("operations/broken-upstream.md")
    done = run(f"""
{prepared()}
configure '"127.0.0.1"' '"192.0.2.1"'
systemctl restart letterlock
send 2
until_ logged status=deferred
{diagnose}
configure '"192.0.2.1"' '"127.0.0.1"'
{repair}
until_ arrived 2
""")
    assert [*done.failed] == ["letterlock resolve . DNSKEY --upstream 192.0.2.1"], done.out
    done.says("secure", "no mistakes")


def test_spam() -> None:
    """A client sends spam: it is found, held, shut out and removed; the mail of others goes on."""
    find, hold, close, remove = blocks("operations/spam.md")
    done = run(
        f"""
{prepared()}
sed -i '/^listen/a relay_networks = ["127.0.0.0/8", "192.0.2.77/32"]' /etc/letterlock/letterlock.toml
systemctl restart letterlock
lose_dns
send 5 bot@example.org
send 1
{find}
{hold}
sed -i 's#, "192.0.2.77/32"##' /etc/letterlock/letterlock.toml
{close}
{remove}
q stats
find_dns
until_ flushed 3
cat /var/log/hidden
grep 'spam run' /var/log/letterlock.log
""",
        {"q release ID ID": f"q release {FIRST_IDS}"},
    )
    assert not done.failed, done.out
    done.says(
        "bot@example.org +5 ", r"5 \S*127\.0\.0\.1", "^5 messages held", "^2 messages released", "^3 messages removed"
    )
    done.says("nft add rule", "hold by uid=0.*: spam run, ticket 4712")


def test_clock() -> None:
    """The clock is a month behind: all signatures are of the future; then it is set."""
    check, repair = blocks("operations/clock.md")
    done = run(
        f"""
{prepared()}
touch /var/world/ahead
send 2
until_ logged status=deferred
{check}
rm /var/world/ahead
{repair}
until_ arrived 2
""",
        {"--now 2026-11-26T12:00:00Z": "--now $(date -u -d '+30 days' +%FT%TZ)"},
    )
    assert [*done.failed] == ["letterlock resolve . DNSKEY"], done.out
    done.says("bogus", "secure")
