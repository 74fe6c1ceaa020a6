"""Evidence in, decision out: what must hold before a message may leave, and whether it held.

Three pure functions, in the order of use: `route` (MX answer -> hosts to try), `require` (evidence on one host -> what
must hold), `judge` (what the session showed -> Cleared, or why not). All return reasons. Fallback is data in a
Requirement, earned by proof, never an exception handler (RFC 7672 section 2.2): `judge.next_requirement` hands it out
after a failed handshake and at no other time.

Three results of a lookup are kept apart everywhere: found, absent, could not find out (`lookups`). The third never
counts as the second. What the operator wrote (`rules`) can raise what the standards demand and never lower it. Every
reason has a code, and every code a standard with its section, an enhanced status, a sentence, advice, and its name in
TLS reports (`reasons`). `inspect.outlook` derives what an attacker could read from the same requirement.

A session that rests on unsigned DNS is never called authenticated here, and what an attacker on the path could have
caused is never permanent. Nothing here looks at a clock: times are arguments.
"""
