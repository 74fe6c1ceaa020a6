"""From plans to an internet: every zone signed, every delegation with what the parent knows of the child."""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import dns.name
from dns.name import Name
from dns.rdtypes.ANY.DS import DS

from tests.agreement.content import Content
from tests.agreement.faults import CONTENT_FAULTS, DS_FAULTS, FORGERS, PLAN_FAULTS
from tests.agreement.internet import Internet
from tests.agreement.plan import Plan, Signer, Site
from tests.agreement.signers import own_key, sign_zone

Row = tuple[str, str, str]


def build(sites: Sequence[Site], directory: Path) -> Internet:
    """Sign every zone, children first, with the faults of their sites. Raises what a signer's failure raises."""
    contents: list[Content] = []
    at_root: list[Row] = []
    for site in sites:
        made, rows = _build_site(site, directory)
        contents += made
        at_root += rows
    root = Plan(origin=dns.name.root, records=(), signer=Signer.OWN)
    content, _ = sign_zone(root, at_root, directory)
    internet = Internet([content, *contents])
    for site in sites:
        if site.fault in FORGERS:
            internet.forgers[site.name] = FORGERS[site.fault]
    return internet


def _build_site(site: Site, directory: Path) -> tuple[list[Content], list[Row]]:
    change = PLAN_FAULTS.get(site.fault)
    plans = [change(plan, index == 0) if change else plan for index, plan in enumerate(site.plans)]
    delegations: dict[Name, list[Row]] = {plan.origin: [] for plan in plans}
    above_site: list[Row] = []
    contents: list[Content] = []
    for plan in sorted(plans, key=lambda each: -len(each.origin)):
        content, ds = sign_zone(plan, delegations[plan.origin], directory)
        if site.fault in CONTENT_FAULTS:
            CONTENT_FAULTS[site.fault](content)
        if site.fault in DS_FAULTS and plan.origin == site.name:
            ds = DS_FAULTS[site.fault](ds)
        contents.append(content)
        parent = next((each for each in delegations if plan.origin != each and plan.origin.is_subdomain(each)), None)
        ups = [each for each in delegations if plan.origin != each and plan.origin.is_subdomain(each)]
        rows = delegations[max(ups, key=len)] if parent else above_site
        rows += _delegation(plan, ds)
    return contents, above_site


def _delegation(plan: Plan, ds: Iterable[DS]) -> list[Row]:
    owner = plan.origin.to_text()
    rows = [(owner, "NS", f"ns.{owner}"), (f"ns.{owner}", "A", "127.0.0.1")]
    return [*rows, *((owner, "DS", each.to_text()) for each in ds if plan.ds)]


def anchor_text() -> str:
    """The root's key as a trust anchor."""
    return f". 300 IN DNSKEY {own_key(13, 257, 1).record.to_text()}\n"


def anchor_file(directory: Path) -> Path:
    """The same as a file."""
    path = directory / f"root-{time.monotonic_ns()}.key"
    path.write_text(anchor_text())
    return path
