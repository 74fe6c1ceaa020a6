"""What RFC 7672, 7671, 6698, 8461, 8689 and 3207 ask of a sender, rule by rule, and the tests that hold each rule.

The rules are in our own words. `tests/test_checklist.py` sees to it that every test named here exists; the page
`docs/reference/rfc-index.md` shows the table. A rule without a test says why it has none.
"""

from typing import NamedTuple


class Rule(NamedTuple):
    """One rule: its section, what it asks, the tests that hold it; `instead` says why there is none."""

    section: str
    text: str
    tests: tuple[str, ...] = ()
    instead: str = ""


CHECKLIST: dict[str, tuple[Rule, ...]] = {
    "RFC 7672": (
        Rule(
            "1.3.1",
            "TLS that can be stripped, with whoever answers, is never called authenticated",
            ("test_rfc7672_1_3_opportunistic_tls_is_encrypted_and_never_authenticated",),
        ),
        Rule(
            "1.3.2",
            "a certificate for a name from an unsigned MX proves nothing",
            (
                "test_rfc7672_1_3_2_a_certificate_for_an_unsigned_name_is_never_called_authenticated",
                "test_rfc7672_1_3_2_the_honest_rows_stay",
            ),
        ),
        Rule(
            "2.1.1",
            "secure and insecure are answers; bogus, indeterminate, SERVFAIL and time-out are failed lookups",
            (
                "test_rfc7672_2_1_1_secure_and_insecure_are_answers_to_go_by",
                "test_rfc7672_2_1_1_indeterminate_and_every_failure_could_not_find_out",
                "test_rfc7672_2_1_1_indeterminate_is_a_failed_lookup",
                "test_rfc7672_2_1_1_an_error_is_a_failure_and_no_absence",
            ),
        ),
        Rule(
            "2.1.1",
            "an absence of TLSA counts only where its proof holds, or the zone is provably unsigned",
            (
                "test_rfc7672_2_2_proven_absence_is_opportunistic_with_an_earned_fallback",
                "test_rfc7672_2_2_absence_in_an_unsigned_zone_counts_as_absence",
                "test_a_removed_tlsa_record_is_bogus",
            ),
        ),
        Rule(
            "2.1.2",
            "a failed MX lookup delays; a failed address or TLSA lookup leaves the host out",
            (
                "test_rfc7672_2_1_2_a_failed_mx_lookup_defers_and_is_never_an_absence",
                "test_rfc7672_2_1_2_an_mx_lookup_failure_defers",
                "test_rfc7672_2_1_2_a_failed_address_lookup_skips_the_host",
                "test_rfc7672_2_1_2_a_tlsa_lookup_failure_skips_the_host",
                "test_rfc7672_2_1_2_a_failed_tlsa_lookup_skips_the_host_whatever_the_rule",
            ),
        ),
        Rule(
            "2.1.3",
            "no resolver is believed because of its AD bit",
            ("test_rfc4035_4_9_3_the_ad_bit_is_never_believed",),
        ),
        Rule(
            "2.1.3",
            "one unsigned alias taints what it leads to; a DNAME is seen through its CNAME",
            (
                "test_rfc4035_5_5_the_weakest_link_of_an_alias_chain_decides",
                "test_rfc7672_2_1_3_an_unsigned_link_in_the_alias_of_the_tlsa_record_taints_it",
                "test_rfc6672_5_3_a_synthesised_cname_is_made_anew_from_the_dname",
            ),
        ),
        Rule(
            "2.2",
            "usable secure records: authenticated TLS, or nothing",
            (
                "test_rfc7672_2_2_usable_secure_records_demand_authenticated_tls",
                "test_rfc7672_2_2_dane_authenticates",
                "test_rfc7672_2_2_no_mail_from_in_clear",
            ),
        ),
        Rule(
            "2.2",
            "secure records of which none is usable: TLS without authentication, never clear",
            ("test_rfc7672_2_2_all_unusable_demands_tls_without_authentication_and_never_clear",),
        ),
        Rule(
            "2.2",
            "no records, or unsigned ones: opportunistic TLS, cleartext allowed",
            ("test_rfc7672_2_2_what_tlsa_demands", "test_rfc7672_2_2_insecure_records_prove_nothing"),
        ),
        Rule(
            "2.2",
            "address literals, and addresses that stand wrongly in an MX, have no DANE",
            (
                "test_rfc7672_2_2_an_ip_address_has_no_dane_and_no_sni",
                "test_rfc7672_2_2_an_mx_that_is_an_ip_address_gets_no_dane",
            ),
        ),
        Rule(
            "2.2",
            "only a proven absence earns a second try in clear after a TLS failure",
            (
                "test_rfc7672_2_2_only_an_earned_fallback_follows_a_failed_handshake",
                "test_rfc7672_2_2_a_failed_handshake_is_retried_in_clear_only_where_that_was_earned",
                "test_rfc7672_2_2_a_failed_handshake_is_no_way_out",
            ),
        ),
        Rule(
            "2.2.1",
            "hosts go by MX preference, whether they have records or not",
            (
                "test_rfc5321_5_1_hosts_come_by_preference",
                "test_rfc7672_2_2_1_records_at_a_later_host_do_not_put_it_first",
            ),
        ),
        Rule(
            "2.2.1",
            "behind an unsigned MX, DANE may be used, and is not counted as safe",
            (
                "test_rfc7672_2_2_1_dane_on_an_unsigned_mx_is_applied_and_not_believed",
                "test_rfc7672_2_2_1_dane_on_an_unsigned_mx_is_never_called_authenticated",
                "test_rfc7672_2_2_1_a_host_is_secure_exactly_when_the_mx_answer_is",
            ),
        ),
        Rule("2.2.1", "mandatory DANE needs a signed MX", ("test_rfc7672_6_mandatory_dane_needs_a_signed_mx",)),
        Rule(
            "2.2.2",
            "destinations without MX and relay hosts count too",
            (
                "test_rfc7672_2_2_2_a_relay_host_is_authenticated_by_dane_on_its_own_port",
                "test_rfc7672_2_2_2_addresses_and_tlsa_are_asked_for_at_a_relay_host_too",
                "test_rfc7672_3_2_2_references_of_an_implicit_mx",
            ),
        ),
        Rule(
            "2.2.2",
            "addresses first; no TLSA lookup where they are unsigned",
            (
                "test_rfc7672_2_2_2_addresses_come_first_and_then_tlsa",
                "test_rfc7672_2_2_2_tlsa_is_not_asked_for_where_the_address_is_not_secure",
            ),
        ),
        Rule(
            "2.2.2",
            "the base: where signed aliases end, then the name; after a signed first link the name; never one between",
            (
                "test_rfc7672_2_2_2_a_secure_chain_asks_at_its_end_first",
                "test_rfc7672_2_2_2_then_at_the_name_itself_and_never_between",
                "test_rfc7672_2_2_2_a_signed_first_link_into_an_unsigned_zone_asks_at_the_name_only",
                "test_rfc7672_2_2_2_an_unsigned_first_link_has_no_dane",
            ),
        ),
        Rule(
            "2.2.3",
            "`_port._tcp.base` with the port that is really used",
            (
                "test_rfc7672_2_2_3_the_port_really_used_is_asked_for",
                "test_rfc7672_2_2_3_records_of_another_port_prove_nothing",
            ),
        ),
        Rule(
            "2.2.3",
            "aliases of the TLSA record are followed, every link signed",
            ("test_rfc7672_2_2_3_the_alias_of_the_tlsa_record_is_followed_securely",),
        ),
        Rule(
            "2.2.3",
            "with secure records STARTTLS is required",
            (
                "test_rfc7672_2_2_3_mandatory_tls_is_never_clear",
                "test_rfc7672_2_2_3_a_refused_starttls_is_no_way_out",
            ),
        ),
        Rule(
            "3.1.1, 3.2.1",
            "DANE-EE: the key or certificate alone; no names, no dates, no chain",
            (
                "test_rfc7672_3_1_1_dane_ee_ignores_names_dates_and_chain",
                "test_rfc7672_3_1_1_a_matching_key_authenticates",
                "test_rfc7672_3_1_1_dane_ee_needs_only_the_key_of_a_certificate",
            ),
        ),
        Rule(
            "3.1.2",
            "DANE-TA: a path to the named authority, which the server sends, with valid dates and names",
            (
                "test_rfc7672_3_1_2_a_matching_authority_authenticates",
                "test_rfc7672_3_1_2_dane_ta_needs_the_authority_in_the_chain",
                "test_rfc7672_3_1_2_dane_ta_needs_dates",
                "test_rfc7672_3_1_2_dane_ta_needs_signatures",
                "test_rfc7672_3_1_2_each_way_in_which_dane_ta_fails_has_its_reason",
            ),
        ),
        Rule(
            "3.1.2",
            "a whole certificate in the record may stand in for one that is not sent",
            ("test_rfc7671_5_2_3_a_full_certificate_in_the_record_may_stand_in_for_an_unsent_anchor",),
        ),
        Rule("3.1.3", "usages 0 and 1 are unusable", ("test_rfc7672_3_1_3_usages_0_and_1_are_unusable",)),
        Rule(
            "3.2",
            "what does not match gets nothing through that host",
            (
                "test_rfc7672_3_2_another_key_is_held_and_tried_again",
                "test_rfc7672_2_2_a_certificate_that_does_not_match_is_held_with_the_policy_s_status",
            ),
        ),
        Rule(
            "3.2.2",
            "reference names: the base; with a signed MX the next hop too; with an unsigned one the MX host alone",
            (
                "test_rfc7672_3_2_2_references_with_a_signed_mx",
                "test_rfc7672_3_2_2_references_with_an_unsigned_mx_are_the_mx_host_only",
                "test_rfc7672_3_2_2_the_references_of_a_relay_host_are_its_tlsa_base_and_the_next_hop",
                "test_rfc7672_3_2_2_dane_ta_needs_one_of_the_reference_identifiers",
            ),
        ),
        Rule(
            "3.2.3",
            "DNS-IDs first, a common name only without one; a wildcard is one whole left-most label",
            (
                "test_rfc7672_3_2_3_common_name_counts_only_without_a_dns_id",
                "test_rfc7672_3_2_3_a_wildcard_stands_for_exactly_one_whole_label",
            ),
        ),
        Rule(
            "4",
            "while a publisher changes keys, either of two records will do",
            ("test_rfc7672_4_while_keys_change_either_of_two_records_will_do",),
        ),
        Rule(
            "5",
            "digest agility: malformed records go first, then the strongest digest of each usage and selector",
            (
                "test_rfc7672_5_malformed_records_are_dropped_before_agility",
                "test_rfc7672_5_the_order_of_digests_can_be_chosen",
                "test_rfc7671_9_of_several_digests_only_the_strongest_counts",
                "test_rfc7671_9_full_and_other_groups_are_not_touched_by_agility",
            ),
        ),
        Rule(
            "6",
            "mandatory DANE: without usable records the mail waits",
            (
                "test_rfc7672_6_dane_only_holds_what_dane_does_not_vouch_for",
                "test_rfc7672_6_dane_only_accepts_dane",
                "test_rfc7672_6_mandatory_dane_holds_mail_for_a_relay_host_without_usable_records",
            ),
        ),
        Rule("8.1", "SNI is the TLSA base domain", ("test_rfc7672_8_1_sni_is_the_tlsa_base_domain",)),
        Rule(
            "8.2",
            "no anonymous ciphers in sessions that must be authenticated",
            ("test_rfc7672_8_2_an_anonymous_session_is_held", "test_rfc7672_8_2_no_certificate_is_a_mismatch"),
        ),
        Rule(
            "9.1",
            "audit-only operation, and a way out for a single site",
            (
                "test_rfc7672_9_1_a_rule_in_audit_holds_nothing_and_tells_what_it_would_have_held",
                "test_rfc7672_9_1_an_exception_for_a_site_lets_mail_pass_with_tls_or_in_clear_as_it_says",
            ),
        ),
    ),
    "RFC 7671": (
        Rule("4.1", "opportunistic use takes usages 2 and 3 only", ("test_rfc7672_3_1_3_usages_0_and_1_are_unusable",)),
        Rule(
            "5.1",
            "DANE-EE looks at the server's own certificate only",
            ("test_rfc7671_5_1_dane_ee_looks_only_at_the_servers_own_certificate",),
        ),
        Rule(
            "5.2.1",
            "DANE-TA names an authority, never the server's own certificate",
            ("test_rfc7671_5_2_dane_ta_never_names_the_servers_own_certificate",),
        ),
        Rule(
            "5.2.2",
            "a bare key (`2 1 0`) is an anchor for what it signed",
            ("test_rfc7671_5_2_2_a_bare_key_is_an_anchor_for_what_it_signed",),
        ),
        Rule(
            "5.2.3",
            "a whole certificate (`2 0 0`) may stand in for one that is not sent",
            ("test_rfc7671_5_2_3_a_full_certificate_in_the_record_may_stand_in_for_an_unsent_anchor",),
        ),
        Rule(
            "7",
            "the base domain with aliases: the end of a signed chain first",
            (
                "test_rfc7672_2_2_2_a_secure_chain_asks_at_its_end_first",
                "test_rfc7672_2_2_2_insecure_records_at_the_end_do_not_hide_the_name",
                "test_rfc7672_2_2_2_unusable_records_at_the_end_are_records_too",
            ),
        ),
        Rule(
            "8.1-8.4",
            "while a publisher changes keys, either of two records will do",
            ("test_rfc7672_4_while_keys_change_either_of_two_records_will_do",),
        ),
        Rule(
            "9",
            "digest agility",
            ("test_rfc7671_9_of_several_digests_only_the_strongest_counts",),
        ),
        Rule(
            "10.1",
            "answers too large for UDP are fetched by TCP",
            ("test_rfc7671_10_1_an_answer_too_large_for_udp_is_fetched_by_tcp",),
        ),
        Rule(
            "10.2",
            "DANE-TA certificates must speak for a reference name",
            ("test_rfc7672_3_2_2_dane_ta_needs_one_of_the_reference_identifiers",),
        ),
    ),
    "RFC 6698": (
        Rule(
            "2.1.1-2.1.4",
            "an unknown usage, selector or matching type, or a digest of the wrong length, spoils that record alone",
            ("test_rfc6698_2_1_a_record_that_cannot_be_used_is_unusable_by_itself",),
        ),
        Rule(
            "2.1",
            "every selector and matching type",
            (
                "test_rfc6698_2_1_every_selector_and_matching_type_of_dane_ee",
                "test_rfc6698_2_1_every_selector_and_matching_type_of_dane_ta",
                "test_rfc6698_2_1_2_selector_1_is_the_key_as_it_stands_in_the_certificate",
            ),
        ),
        Rule("3", "port, protocol and base make the name", ("test_rfc7672_2_2_3_the_port_really_used_is_asked_for",)),
        Rule("4.1", "only secure records are usable", ("test_rfc7672_2_2_insecure_records_prove_nothing",)),
    ),
    "RFC 8461": (
        Rule(
            "2",
            "MTA-STS never overrides a failing DANE; where both apply, both are verified",
            (
                "test_rfc8461_2_mta_sts_never_overrides_a_failing_dane",
                "test_rfc8461_2_where_both_apply_both_are_verified",
            ),
        ),
        Rule(
            "3.1",
            "exactly one valid TXT record, else no policy",
            (
                "test_rfc8461_3_1_a_valid_record_gives_its_id",
                "test_rfc8461_3_1_two_records_are_no_policy",
                "test_rfc8461_3_1_a_record_against_the_grammar_is_no_policy",
                "test_rfc8461_3_1_what_does_not_begin_as_it_must_does_not_count",
                "test_rfc8461_3_1_strings_of_one_record_are_joined_without_spaces",
            ),
        ),
        Rule(
            "3.1",
            "a remembered policy holds whatever becomes of the record",
            (
                "test_rfc8461_10_2_a_removed_txt_record_does_not_shake_off_the_policy",
                "test_rfc8461_3_1_a_failed_txt_lookup_is_not_an_absence",
                "test_rfc8461_3_1_an_expired_policy_holds_no_longer",
            ),
        ),
        Rule(
            "3.2",
            "the grammar: LF or CRLF, unknown keys ignored, max_age at most a year, mx unless mode none",
            (
                "test_rfc8461_3_2_a_valid_policy",
                "test_rfc8461_3_2_unknown_fields_are_ignored",
                "test_rfc8461_3_2_max_age_has_a_ceiling",
                "test_rfc8461_3_2_mx_may_be_missing_only_with_mode_none",
                "test_rfc8461_3_2_a_line_against_the_grammar_spoils_the_policy",
                "test_rfc8461_3_2_of_a_field_given_twice_the_first_counts",
            ),
        ),
        Rule(
            "3.3",
            "HTTPS at the well-known place, with a WebPKI certificate for the policy host",
            (
                "test_rfc8461_3_3_the_request_names_host_and_path_and_what_is_wanted",
                "test_rfc8461_3_3_the_certificate_must_be_publicly_trusted_for_the_policy_host",
                "test_rfc8461_3_3_only_text_plain_counts",
            ),
        ),
        Rule(
            "3.3",
            "200 only, no redirects",
            ("test_rfc8461_3_3_only_200_counts", "test_rfc8461_3_3_no_redirect_is_followed"),
        ),
        Rule(
            "3.3",
            "bounded in size and time",
            (
                "test_rfc8461_3_3_what_is_too_large_ends_in_bounded_time_and_memory",
                "test_rfc8461_3_3_a_slow_drip_ends_at_the_deadline",
            ),
        ),
        Rule(
            "3.3",
            "five minutes after a failure before the next try",
            (
                "test_rfc8461_3_3_a_failed_fetch_waits_five_minutes",
                "test_rfc8461_3_3_a_failed_fetch_is_not_tried_again_within_five_minutes",
            ),
        ),
        Rule(
            "3.3",
            "refreshed before it ends, kept over restarts",
            (
                "test_rfc8461_10_2_refreshes_are_daily_and_well_before_the_end",
                "test_rfc8461_3_3_what_is_remembered_survives_a_restart",
            ),
        ),
        Rule(
            "3.4",
            "the policy domain is the next hop's, a relay host's its own; no inheritance, no alias",
            (
                "test_rfc8461_3_4_the_policy_is_that_of_the_next_hop_domain",
                "test_rfc8461_3_4_the_policy_domain_is_that_of_the_relay_host",
                "test_rfc8461_3_4_a_subdomain_does_not_inherit_the_policy",
                "test_rfc8461_3_4_the_policy_host_is_that_of_the_policy_domain_whatever_the_alias",
            ),
        ),
        Rule(
            "4.1",
            "patterns: `*.` is one left-most label; case is ignored",
            (
                "test_rfc8461_4_1_matching",
                "test_rfc8461_4_1_a_wildcard_stands_for_exactly_one_label",
                "test_rfc8461_4_1_only_hosts_that_the_policy_names",
            ),
        ),
        Rule(
            "4.2",
            "a chain to a WebPKI root, not expired, with a DNS-ID for the MX host; no common name",
            (
                "test_rfc8461_4_2_a_valid_chain_for_the_host_is_authenticated",
                "test_rfc8461_4_2_a_bad_chain_holds_the_mail_for_now",
                "test_rfc8461_4_2_a_common_name_is_no_name",
            ),
        ),
        Rule(
            "5",
            "enforce holds, testing delivers and tells, none is as if absent",
            (
                "test_rfc8461_5_enforce_demands_tls_with_a_certificate_for_the_host_and_has_no_fallback",
                "test_rfc8461_5_testing_delivers_and_tells_what_would_have_been_held",
                "test_rfc8461_5_what_a_policy_demands",
            ),
        ),
        Rule(
            "5, 5.1",
            "what fails waits, after another look at the id",
            (
                "test_rfc8461_5_1_a_policy_that_changed_meanwhile_is_heard_before_the_message_waits",
                "test_rfc8461_5_1_a_policy_that_stays_holds_the_message",
                "test_rfc8461_5_1_another_id_is_fetched_at_once",
            ),
        ),
        Rule("7.1", "SNI is the MX host", ("test_rfc8461_7_1_sni_is_the_mx_host",)),
        Rule("7.2", "TLS 1.2 or newer", ("test_rfc8461_7_2_and_rfc8996_tls_1_1_is_refused",)),
        Rule(
            "8.3",
            "a policy is withdrawn by mode none",
            (
                "test_rfc8461_8_3_mode_none_and_then_no_record_is_a_withdrawal",
                "test_rfc8461_8_3_a_withdrawn_policy_is_forgotten_without_alarm",
            ),
        ),
        Rule(
            "8.4",
            "the order of the MX hosts stays",
            ("test_rfc8461_8_4_a_policy_changes_nothing_of_the_order_of_the_hosts",),
        ),
        Rule(
            "10.2",
            "blocked discovery: what is remembered holds, and it is told",
            (
                "test_rfc8461_10_2_no_blocking_whatsoever_shakes_off_a_policy_that_holds",
                "test_rfc8461_10_2_a_blocked_policy_still_holds_and_is_a_sign_of_attack",
                "test_rfc8461_10_2_a_hidden_policy_holds_and_is_told_as_a_sign_of_attack",
            ),
        ),
    ),
    "RFC 8689": (
        Rule(
            "2",
            "REQUIRETLS is offered and used inside TLS only",
            (
                "test_rfc8689_2_requiretls_is_offered_inside_tls_only",
                "test_rfc8689_2_the_parameter_in_clear_is_refused",
            ),
        ),
        Rule(
            "3",
            "`TLS-Required: No`, one field, whatever its case",
            ("test_rfc8689_3_one_field_with_the_value_no", "test_rfc8689_3_the_body_is_not_the_header"),
        ),
        Rule(
            "3, 4.1",
            "REQUIRETLS outranks the header",
            ("test_rfc8689_4_1_what_the_sender_demands_is_kept_and_requiretls_outranks_the_header",),
        ),
        Rule(
            "4.1",
            "the tag is kept through queue and restart",
            ("test_rfc8689_4_1_what_the_sender_demands_of_tls_is_remembered",),
        ),
        Rule(
            "4.2.1",
            "the next host is proven by DNSSEC or MTA-STS, has a verified certificate, and offers REQUIRETLS",
            (
                "test_rfc8689_4_2_1_a_host_that_nothing_proves_gets_nothing",
                "test_rfc8689_4_2_1_a_policy_in_force_proves_the_host_too",
                "test_rfc8689_4_2_1_a_chain_that_proves_nothing_holds_it",
                "test_rfc8689_4_2_1_with_dane_requiretls_asks_for_the_extension_and_nothing_else",
                "test_rfc8689_4_2_1_the_parameter_is_sent_to_a_proven_server_that_offers_it",
            ),
        ),
        Rule(
            "4.2.1",
            "5.7.30 when no proven host supports it; what an attacker can cause is temporary",
            (
                "test_rfc8689_4_2_1_when_no_host_supports_it_the_message_is_returned_with_5_7_30",
                "test_rfc8689_4_2_1_what_an_attacker_can_cause_is_never_permanent",
                "test_rfc8689_4_2_1_without_tls_it_is_held_for_now",
            ),
        ),
        Rule(
            "4.2.2",
            "with the header, TLS is still tried first, and nothing else is demanded",
            (
                "test_rfc8689_4_2_2_the_header_lifts_what_dns_demands_and_tls_is_still_tried_first",
                "test_rfc8689_4_2_2_the_header_lifts_a_failed_tlsa_lookup_a_policy_and_a_rule",
            ),
        ),
        Rule("4.3", "submission", instead="there is no submission with authentication yet; what relays submits alike"),
        Rule("4.4", "final delivery", instead="there are no mailboxes here: every message goes to another server"),
        Rule(
            "5",
            "the notification demands REQUIRETLS too, and holds the header only",
            ("test_rfc8689_5_the_notification_demands_requiretls_too_and_holds_the_header_only",),
        ),
        Rule("6", "re-origination", instead="nothing here sends a message anew: no lists, no forwarding by content"),
    ),
    "RFC 3207": (
        Rule(
            "4",
            "a public server takes mail without STARTTLS",
            ("test_rfc3207_4_mail_without_tls_is_taken_though_tls_is_offered",),
        ),
        Rule(
            "4",
            "the client waits for 220, and goes on when it is refused, where it may",
            (
                "test_rfc3207_4_a_refused_starttls_leaves_the_session",
                "test_rfc3207_4_2_octets_with_the_220_are_an_injection",
            ),
        ),
        Rule(
            "4.1",
            "both decide whether the security that was reached suffices",
            (
                "test_rfc3207_4_1_a_hostile_server_ends_in_time_and_gets_no_mail_from",
                "test_rfc7672_2_2_3_mandatory_tls_is_never_clear",
            ),
        ),
        Rule(
            "4.2",
            "what was learned before TLS is forgotten, and EHLO said again",
            (
                "test_rfc3207_4_2_everything_learned_before_tls_is_forgotten",
                "test_rfc3207_4_2_capabilities_from_before_tls_are_not_used",
                "test_rfc3207_4_2_everything_said_in_clear_is_forgotten",
            ),
        ),
        Rule(
            "4.2",
            "octets behind 220 in clear end the session (CVE-2011-0411)",
            (
                "test_rfc3207_4_2_plaintext_injected_after_220_breaks_the_handshake",
                "test_rfc3207_4_2_injected_octets_end_the_session_whatever_is_required",
                "test_rfc3207_4_2_injection_is_not_retried_in_clear",
            ),
        ),
        Rule("6", "a sender may remember that a server offered STARTTLS", instead="allowed, and not done yet"),
    ),
}
