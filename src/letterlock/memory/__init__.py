"""What earlier deliveries to a domain showed, and what is expected of it since. Pure.

A memory is built from several successful deliveries, spread over days (`traces`), of a next-hop domain and its MX hosts
(`remembered`, `learning`). What a host shows now is compared with it (`comparison`). Whether anything follows from a
difference is decided in `letterlock.policy`. docs/concepts/memory.md has the rules and their limits.
"""
