"""The packaged units under a real systemd, which is process 1 of a machine of its own.

One machine for all, since it takes seconds to boot; each test looks at one part of what was printed.
"""

import pytest

from tests.operations.live_systemd import run_live
from tests.operations.machine import Done, prepared

MARK = "::part "
SHOW = "systemctl show letterlock -P"
SCRIPT = f"""
part() {{ echo '{MARK}'"$1"; }}
pid() {{ {SHOW} MainPID; }}
has_changed() {{ [ "$(pid)" != "$1" ] && systemctl is-active -q letterlock; }}
status_is() {{ {SHOW} StatusText | grep -q "$1"; }}
log() {{ journalctl -u letterlock --no-pager -o cat; }}

part start
head -c 32 /dev/urandom | base64 >/root/queue.key
chmod 600 /root/queue.key
mkdir -p /etc/systemd/system/letterlock.service.d
cat >/etc/systemd/system/letterlock.service.d/test.conf <<'UNIT'
[Service]
LoadCredential=queue.key:/root/queue.key
WatchdogSec=2
UNIT
{prepared().replace("[resolver]", 'key_file = "%d/queue.key"' + chr(10) + "[resolver]")}
systemctl is-active letterlock
{SHOW} StatusText
ps -o user= -p "$(pid)"
send 1
until_ arrived 1
log | grep -i clock

part sandbox
for path in /etc /usr /var/lib/letterlock; do
    nsenter -t "$(pid)" -m touch $path/touched && echo "$path can be written to"
done
grep -E '^(NoNewPrivs|Seccomp|CapBnd):' "/proc/$(pid)/status"
stat -c '%n %a %U' /var/lib/letterlock /var/lib/letterlock-drop

part reload
before=$(pid)
cp /etc/letterlock/letterlock.toml /root/good
echo 'memory_octets = "many"' | cat - /root/good >/etc/letterlock/letterlock.toml
systemctl reload letterlock
until_ status_is 'the configuration has mistakes'
cp /root/good /etc/letterlock/letterlock.toml
systemctl reload letterlock
until_ status_is '^receiving and delivering mail$'
[ "$(pid)" = "$before" ] && echo the same process

part watchdog
before=$(pid)
kill -STOP "$before"
until_ has_changed "$before"
log | grep -i watchdog
{SHOW} NRestarts

part orders
lose_dns
send 1
echo 1000 >/proc/self/loginuid
q hold --all --yes --because 'a test'
log | grep 'a test'
q release --all --yes
find_dns
q flush
until_ arrived 2

bin=/opt/letterlock/.venv/bin
part command
cat >/usr/local/bin/probe <<'PROGRAM'
#!/bin/sh
echo "as $(id -un), $(grep -c hello) line, $(ls /var/lib/letterlock /etc/letterlock 2>&1 | tr '\\n' ' ')"
PROGRAM
chmod 755 /usr/local/bin/probe
cat >>/etc/letterlock/letterlock.toml <<'TOML'
[route."probe@example.net"]
next_hop = "command:/usr/local/bin/probe"
TOML
systemctl reload letterlock
until_ status_is '^receiving and delivering mail$'
printf 'Subject: a probe\n\nhello\n' | $bin/letterlock-sendmail -f prober@example.org probe@example.net
has_probed() {{ log | grep -q 'to=<probe@example.net>'; }}
until_ has_probed
log | grep 'to=<probe@example.net>'
stat -c '%a' /var/lib/letterlock-drop
part stopped
systemctl stop letterlock
{SHOW} Result
printf 'Subject: later\\n\\n' |
    setpriv --reuid nobody --clear-groups $bin/letterlock-sendmail -f nobody@example.org ann@example.net && echo dropped

part socket
sed -i '/key_file/d' /etc/letterlock/letterlock.toml
rm -r /var/lib/letterlock
cp /opt/letterlock/packaging/letterlock.socket /etc/systemd/system/
sed -i 's/=0.0.0.0:25/=127.0.0.1:2525/; s/^ListenStream=.*]:25/ListenStream=[::1]:2525/; s/=mx/=relay/' \
    /etc/systemd/system/letterlock.socket
sed -i 's/"127.0.0.1:2525"/"127.0.0.1:2525", "[::1]:2525"/' /etc/letterlock/letterlock.toml
systemctl daemon-reload
systemctl enable --now letterlock.socket
systemctl is-active letterlock
letterlock config check
exec 7<>/dev/tcp/127.0.0.1/2525
head -1 <&7
systemctl is-active letterlock
exec 8<>/dev/tcp/::1/2525
head -1 <&8
until_ arrived 3

part mistake
exec 7<&- 8<&-
systemctl stop letterlock.socket
cp /etc/letterlock/letterlock.toml /root/good
echo 'nonsense = 1' | cat - /root/good >/etc/letterlock/letterlock.toml
systemctl restart letterlock
{SHOW} ActiveState,ExecMainStatus,NRestarts

part journal
log | grep -c 'letterlock\\[.*letterlock\\['
letterlock log trace nobody@example.org --journal | grep -c status=sent
systemd-analyze verify /etc/systemd/system/letterlock.service /etc/systemd/system/letterlock.socket && echo verified
systemd-analyze security letterlock.service --no-pager | tail -1
"""


@pytest.fixture(name="done", scope="module")
def done_fixture() -> Done:
    """The machine's whole life."""
    return run_live(SCRIPT)


def part(done: Done, name: str) -> str:
    """What one part printed."""
    return done.out.partition(f"{MARK}{name}\n")[2].partition(MARK)[0]


def test_it_starts_with_a_credential_and_reports_its_state(done: Done) -> None:
    lines = part(done, "start").splitlines()
    assert lines[-4:-1] == ["active", "receiving and delivering mail", "letterlock"]
    assert "the clock is" in lines[-1], "adjtimex(2) is forbidden there: timedated was asked"


def test_the_sandbox_holds_and_leaves_what_the_server_needs(done: Done) -> None:
    """The drop directory has the set-group-ID bit, which RestrictSUIDSGID= would forbid."""
    printed = part(done, "sandbox")
    for each in ("/etc", "/usr"):
        assert f"cannot touch '{each}/touched': Read-only file system" in printed
    assert "/var/lib/letterlock can be written to" in printed
    assert "CapBnd:\t0000000000000400\nNoNewPrivs:\t1\nSeccomp:\t2" in printed
    assert "/var/lib/letterlock 700 letterlock\n/var/lib/letterlock-drop 3733 letterlock" in printed


def test_a_reload_keeps_the_process_and_shows_mistakes(done: Done) -> None:
    assert part(done, "reload") == "the same process\n"


def test_a_server_that_hangs_is_started_again(done: Done) -> None:
    printed = part(done, "watchdog")
    assert "Watchdog timeout" in printed
    assert printed.endswith("\n1\n")


def test_orders_are_logged_with_the_login_user(done: Done) -> None:
    """/proc/PID/loginuid of others can be read there, which ProtectProc= would forbid."""
    assert "hold by uid=0 login=1000: a test" in part(done, "orders")


def test_a_command_runs_in_the_sandbox_and_sees_no_secrets(done: Done) -> None:
    """And the reload before it leaves the drop directory open."""
    printed = part(done, "command")
    assert "relay=command:/usr/local/bin/probe" in printed
    assert "status=sent (as letterlock, 1 line, " in printed
    for hidden in ("/var/lib/letterlock", "/etc/letterlock"):
        assert f"ls: cannot open directory '{hidden}': Permission denied" in printed
    assert printed.endswith("\n3733\n")


def test_local_mail_waits_while_the_service_is_stopped(done: Done) -> None:
    assert part(done, "stopped") == "success\ndropped\n"


def test_systemd_holds_the_ports_until_somebody_connects(done: Done) -> None:
    printed = part(done, "socket")
    assert "\ninactive\n" in printed
    for at in ("127.0.0.1:2525", "[::1]:2525"):
        assert f"ok       systemd holds {at} for letterlock.service, by letterlock.socket, until it starts" in printed
    assert "error    " not in printed
    assert printed.endswith("220 relay.example.org ESMTP Letterlock\nactive\n220 relay.example.org ESMTP Letterlock\n")


def test_a_mistake_in_the_configuration_is_not_tried_again_and_again(done: Done) -> None:
    assert sorted(part(done, "mistake").split()[-3:]) == ["0", "78", "failed"]


def test_the_journal_and_the_units_are_in_order(done: Done) -> None:
    prefixes, sent, verified, exposure = part(done, "journal").splitlines()[:4]
    assert (prefixes, sent, verified) == ("0", "1", "verified")
    assert float(exposure.partition(": ")[2].split()[0]) <= 2.0
