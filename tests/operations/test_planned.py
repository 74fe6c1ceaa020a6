"""docs/operations, what is planned: the commands of each page are run, and what it promises is so."""

from tests.operations.machine import blocks, prepared, run

FIRST_ID = "$(letterlock queue list --json | jq -r '.messages[0].id')"
ORDERS = "grep -h ' by uid=' /var/log/letterlock.log"


def test_backup() -> None:
    """Three messages wait, are exported, get lost, and are restored; one of them is removed."""
    back_up, restore, copy = blocks("operations/backup.md")
    done = run(
        f"""
{prepared()}
lose_dns
send 3
{back_up}
stat -c %a /root/queue.tar.gz
systemctl stop letterlock
rm -r /var/lib/letterlock
systemctl start letterlock
q stats
{restore}
find_dns
until_ flushed 2
q import /root/queue.tar.gz
{copy}
q stats
{ORDERS}
""",
        {"q remove ID": f"q remove {FIRST_ID}"},
    )
    assert not done.failed, done.out
    done.says(
        "^3 messages exported", "^600$", "^3 messages imported", "held .*restored, ticket 4713", "^1 message removed"
    )
    done.says("^0 messages imported, 3 imported before", "The queue is empty", "import by uid=0.*: from archive")


def test_upgrade_and_downgrade() -> None:
    """Three messages wait through an upgrade, and through a downgrade by an archive."""
    before, after, leave, arrive = blocks("operations/upgrade.md")
    done = run(f"""
{prepared()}
lose_dns
send 2
{before}
send 1
{after}
until_ waiting 3
{leave}
{arrive}
find_dns
until_ flushed 3
""")
    assert not done.failed, done.out
    done.says("^2 messages exported", "no mistakes", "^3 messages held", "^3 messages exported", "^3 messages imported")
    done.says("^3 messages released")


def test_move() -> None:
    """The queue and the drop directory of the old machine work on the new one, which is the same one, emptied."""
    leave, arrive = blocks("operations/move.md")
    done = run(f"""
{prepared()}
lose_dns
send 2
systemctl stop letterlock
send 1
{leave}
rm -r /var/lib/letterlock /var/lib/letterlock-drop
{arrive}
until_ waiting 3
find_dns
until_ flushed 3
""")
    assert not done.failed, done.out
    done.says(r"TOTAL +[23] ")


def test_workers() -> None:
    """From three workers to four and to one: the same messages."""
    [change] = blocks("operations/workers.md")
    done = run(f"""
{prepared()}
{change.replace("= 4", "= 3")}
lose_dns
send 6
{change}
until_ waiting 6
{change.replace("= 4", "= 1")}
until_ waiting 6
find_dns
until_ flushed 6
""")
    assert not done.failed, done.out
    done.says(r"TOTAL +6 ")
