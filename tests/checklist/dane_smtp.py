"""RFC 7672: DANE for SMTP."""

from tests.checklist.rule import Rule

RFC7672 = (
    Rule(
        "1.3.1",
        "TLS that can be stripped, with whoever answers, is never called authenticated",
        ("test_rfc7672_1_3_1_opportunistic_tls_is_encrypted_and_never_authenticated",),
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
            "test_rfc7672_2_1_1_an_absence_without_proof_leaves_the_host_out",
            "test_a_removed_tlsa_answer_is_bogus_with_a_replayed_proof_and_without",
        ),
    ),
    Rule(
        "2.1.2",
        "a failed MX lookup delays; a failed address or TLSA lookup leaves the host out",
        (
            "test_rfc7672_2_1_2_a_failed_mx_lookup_defers_and_is_never_an_absence",
            "test_rfc7672_2_1_2_an_mx_lookup_failure_defers",
            "test_rfc7672_2_1_2_without_a_provable_mx_answer_the_mail_waits",
            "test_rfc7672_2_1_2_a_failed_address_lookup_skips_the_host",
            "test_rfc7672_2_1_2_a_tlsa_lookup_failure_skips_the_host",
            "test_rfc7672_2_1_2_a_failed_tlsa_lookup_skips_the_host_whatever_the_rule",
        ),
    ),
    Rule(
        "2.1.3",
        "no resolver is believed because of its AD bit",
        (
            "test_rfc7672_2_1_3_the_ad_bit_of_an_unsigned_answer_makes_nothing_secure",
            "test_rfc4035_4_9_3_the_ad_bit_is_never_believed",
        ),
    ),
    Rule(
        "2.1.3",
        "one unsigned alias taints what it leads to; a DNAME is seen through its CNAME",
        (
            "test_rfc4035_5_5_the_weakest_link_of_an_alias_chain_decides",
            "test_rfc7672_2_1_3_no_dane_without_records_or_behind_an_unsigned_first_link",
            "test_rfc7672_2_1_3_an_unsigned_alias_of_the_tlsa_record_proves_nothing",
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
        "only a proven absence earns a second try in cleartext after a TLS failure",
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
    Rule(
        "2.2.1",
        "mandatory DANE needs a signed MX",
        (
            "test_rfc7672_2_2_1_and_6_mandatory_dane_needs_a_signed_mx",
            "test_rfc7672_6_dane_only_does_not_believe_an_unsigned_mx",
        ),
    ),
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
            "test_rfc7671_7_and_rfc7672_2_2_2_the_base_domain_of_signed_hosts_and_aliases",
        ),
    ),
    Rule(
        "2.2.3",
        "`_port._tcp.base` with the port that is really used",
        (
            "test_rfc7672_2_2_3_the_port_really_used_is_asked_for",
            "test_rfc7672_2_2_3_records_of_another_port_prove_nothing",
            "test_rfc6698_3_and_rfc7672_2_2_3_each_port_has_its_own_records",
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
        (
            "test_rfc7672_3_1_2_an_anchor_that_only_the_record_holds_still_needs_names_and_dates",
            "test_rfc7671_5_2_3_a_full_certificate_in_the_record_may_stand_in_for_an_unsent_anchor",
        ),
    ),
    Rule("3.1.3", "usages 0 and 1 are unusable", ("test_rfc7672_3_1_3_usages_0_and_1_are_unusable",)),
    Rule(
        "3.2",
        "what does not match gets nothing through that host; then the next host, else the mail waits",
        (
            "test_rfc7672_3_2_what_the_first_host_does_not_prove_goes_to_the_next",
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
            "test_rfc7672_3_2_2_references_of_an_implicit_mx",
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
        (
            "test_rfc7672_4_while_keys_change_either_of_two_records_will_do",
            "test_rfc7671_8_during_a_change_the_record_that_fits_will_do",
        ),
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
            "test_rfc7672_6_without_records_the_mail_waits",
            "test_rfc7672_6_mandatory_dane_holds_mail_for_a_relay_host_without_usable_records",
        ),
    ),
    Rule(
        "8.1",
        "SNI is the TLSA base domain",
        (
            "test_rfc7672_8_1_sni_is_the_tlsa_base_domain",
            "test_rfc7672_8_1_the_handshake_names_the_tlsa_base_domain",
        ),
    ),
    Rule(
        "8.2",
        "no anonymous ciphers in sessions that must be authenticated",
        (
            "test_rfc7672_8_2_a_server_with_anonymous_ciphers_alone_gets_nothing_under_dane",
            "test_rfc7672_8_2_an_anonymous_session_is_held",
            "test_rfc7672_8_2_no_certificate_is_a_mismatch",
        ),
    ),
    Rule(
        "9.1",
        "audit-only operation, and a way out for a single site",
        (
            "test_rfc7672_9_1_a_rule_in_audit_holds_nothing_and_tells_what_it_would_have_held",
            "test_rfc7672_9_1_in_audit_the_mail_goes_and_the_reasons_tell_what_would_have_held_it",
            "test_rfc7672_9_1_an_exception_for_a_site_lets_mail_pass_with_tls_or_in_clear_as_it_says",
            "test_rfc7672_9_1_one_site_is_let_through_with_the_reason_and_until_the_end_that_it_has",
        ),
    ),
)
