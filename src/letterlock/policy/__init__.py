"""Evidence in, decision out: what must hold before a message may leave, and whether it held.

Three pure functions, in the order of use: `route` (MX answer -> hosts to try), `require` (evidence on one host -> what
must hold), `judge` (what the session showed -> Cleared, or why not). All return reasons. Fallback is data in a
Requirement, earned by proof, never an exception handler (RFC 7672 section 2.2).
"""
