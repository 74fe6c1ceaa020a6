"""The one table of disagreements that stay, each with the section of the standard that makes ours right."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.agreement.faults import FORGERS, SIGNATURE_FAULTS
from tests.agreement.plan import Denial, Plan, Site
from tests.agreement.verdicts import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Ours and another's verdict of one question; `third` is delv's, asked where Unbound's differs.

    `sites`: all that the answer touches, by its aliases too.
    """

    sites: tuple[Site, ...]
    name: str
    rdtype: str
    ours: Verdict
    theirs: Verdict
    who: str
    truth: str  # what an honest answer would be: records, nodata or nxdomain
    third: Verdict | None = None

    @property
    def faults(self) -> set[str]:
        """What is wrong with the sites that the answer touches."""
        return {site.fault for site in self.sites}

    @property
    def plans(self) -> list[Plan]:
        """How their zones are signed."""
        return [plan for site in self.sites for plan in site.plans]

    @property
    def delv_agrees(self) -> bool:
        """Whether delv is on our side."""
        return self.third is not None and self.ours.agrees(self.third)

    def __str__(self) -> str:
        where = f"{self.name} {self.rdtype} [{', '.join(site.fault for site in self.sites)}]"
        third = f"; delv {self.third}" if self.third else ""
        return f"{where}: Letterlock {self.ours}; {self.who} {self.theirs}{third}"


@dataclass(frozen=True, slots=True)
class Exemption:
    """A kind of disagreement that is right, and why."""

    section: str
    why: str
    holds: Callable[[Difference], bool]


def _ed448(each: Difference) -> bool:
    used = any(plan.algorithm == 16 for plan in each.plans)
    return used and each.who == "Unbound" and each.theirs.state == "insecure" and each.delv_agrees


def _iterations(each: Difference) -> bool:
    return "too many iterations" in each.faults and each.theirs.state == "insecure" and not each.ours.usable


def _soa_alone(each: Difference) -> bool:
    absent = each.ours.found == each.truth != "records"
    proven = each.ours.state == "secure" or any(plan.denial is Denial.OPT_OUT for plan in each.plans)
    return absent and proven and not each.faults.isdisjoint(SIGNATURE_FAULTS)


def _rcode_alone(each: Difference) -> bool:
    return "rcode flipped" in each.faults and each.ours.usable and each.ours.found != each.theirs.found


def _opt_out(each: Difference) -> bool:
    absent = each.ours.found in ("nodata", "nxdomain")
    opted = any(plan.denial is Denial.OPT_OUT for plan in each.plans)
    return opted and absent and each.who == "delv" and (each.ours.state, each.theirs.state) == ("insecure", "secure")


def _unprotected(each: Difference) -> bool:
    return each.ours.state == "insecure" and each.theirs.state != "secure" and not each.faults.isdisjoint(FORGERS)


def _unrelated(each: Difference) -> bool:
    return "extra answers" in each.faults and each.ours.usable


def _any_signature(each: Difference) -> bool:
    beside = not each.faults.isdisjoint({"second signature bad", "second signature unknown"})
    return beside and each.ours.usable and not (each.theirs.state == "secure" and each.theirs.found != each.ours.found)


def _gap(each: Difference) -> bool:
    between = not each.faults.isdisjoint(SIGNATURE_FAULTS | {"denial unsigned"})
    return between and each.who == "delv" and not each.ours.usable and each.theirs.usable


def _remembered(each: Difference) -> bool:
    hidden = not each.faults.isdisjoint(FORGERS) and not each.ours.usable
    return hidden and each.theirs.state == "secure" and each.theirs.found == each.truth


def _alias_unproven(each: Difference) -> bool:
    return len(each.sites) > 1 and not each.ours.usable and each.theirs.state == "insecure" and each.delv_agrees


def _made_by_dname(each: Difference) -> bool:
    absent = each.theirs.found != "records" and each.ours.state == each.theirs.state
    said, owner = str(each.theirs), each.name.partition(".")[2]
    # Unbound looks for keys at the DNAME's own name, which is no zone.
    lost = not each.theirs.usable and ("DS got DNAME answer" in said or f" for DS {owner} while" in said)
    return each.rdtype == "CNAME" and each.ours.found == "records" and (lost or (each.theirs.usable and absent))


def _proven_without(each: Difference) -> bool:
    proven = each.ours.state == "secure" and each.ours.found == each.truth
    return "servfail" in each.faults and proven and not each.theirs.usable


def _below_no_ds(each: Difference) -> bool:
    unsigned = each.ours.state == "insecure" and each.ours.found == each.truth and each.delv_agrees
    return unsigned and not each.theirs.usable and not each.faults.isdisjoint(SIGNATURE_FAULTS)


EXEMPTIONS = (
    Exemption(
        "RFC 6672 section 5.3.1",
        "asked for the CNAME that a DNAME makes: the DNAME is sufficient proof of it, whatever becomes of the target; "
        "others go on to the target, and say that there is no such name or no CNAME",
        _made_by_dname,
    ),
    Exemption(
        "RFC 4035 section 5.3",
        "a reply that fails and that the proof does not need is no reason to lose the proof",
        _proven_without,
    ),
    Exemption(
        "RFC 4035 section 5.2",
        "below a proven absence of DS nothing is validated, so that no signature there can fail: delv agrees with us",
        _below_no_ds,
    ),
    Exemption(
        "RFC 8080 section 4",
        "Debian's Unbound is built without ED448: such zones are unsigned to it; delv, which knows it, agrees with us",
        _ed448,
    ),
    Exemption(
        "RFC 9276 section 3.2",
        "more NSEC3 iterations than the limit: item 3 allows SERVFAIL in the place of insecure, and a sender that "
        "takes insecure there would lose TLSA records silently",
        _iterations,
    ),
    Exemption(
        "RFC 4035 section 5.4",
        "absence is proven by the NSEC or NSEC3 records that hold; a broken signature beside them, as over the SOA "
        "record (which moves the negative TTL only, and ours is capped by the proof's), is no reason to lose the proof",
        _soa_alone,
    ),
    Exemption(
        "RFC 4035 sections 5.3 and 5.4",
        "the response code is not signed, so the proven RRsets decide and not the code; Unbound goes by the code",
        _rcode_alone,
    ),
    Exemption(
        "RFC 5155 section 9.2",
        "a denial that rests on an opt-out span is not authentic data: insecure, where delv says validated",
        _opt_out,
    ),
    Exemption(
        "RFC 4033 section 5",
        "insecure data is whatever the forger says; what becomes of it depends on who remembers which of his lies",
        _unprotected,
    ),
    Exemption(
        "RFC 2181 section 5.4.1",
        "records of other names beside a proven answer are no part of it, and are left alone; delv fails on them",
        _unrelated,
    ),
    Exemption(
        "RFC 6840 section 5.4",
        "one valid signature is enough, whatever stands beside it; others give up at an ED448 signature that is broken",
        _any_signature,
    ),
    Exemption(
        "RFC 4035 section 5.2",
        "the parent does not prove that a name between two zones is no zone: ours and Unbound's look at each label, "
        "delv goes from the signer straight to its DS record",
        _gap,
    ),
    Exemption(
        "RFC 8198 section 4",
        "what the forger hides, the other remembered from an answer before; ours starts anew with each question here",
        _remembered,
    ),
    Exemption(
        "RFC 4035 section 5.4",
        "an alias into a signed zone that proves nothing of its target: not an absence, and delv agrees with us; "
        "Unbound says insecure",
        _alias_unproven,
    ),
)


def exemption(difference: Difference) -> Exemption | None:
    """Why a disagreement may stay, if it may."""
    return next((each for each in EXEMPTIONS if each.holds(difference)), None)
