"""RFC 8461 (MTA-STS), RFC 8689 (REQUIRETLS) and RFC 3207 (STARTTLS)."""

from tests.checklist.rule import Rule

RFC8461 = (
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
            "test_rfc8461_3_2_fields_that_must_be_there",
            "test_rfc8461_3_2_what_must_be_there_is_not_made_up_from_a_line_that_is_no_field",
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
        "no HTTP cache: what a fetch is to be kept for counts for nothing",
        ("test_rfc8461_3_3_what_http_says_of_caching_counts_for_nothing",),
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
            "test_rfc8461_10_2_a_refresh_needs_no_txt_record",
            "test_rfc8461_3_3_a_policy_is_fetched_once_and_survives_a_restart",
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
        "patterns: `*.` is one left-most label; case is ignored; A-labels match as they are",
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
            "test_rfc8461_5_what_each_mode_makes_of_a_failure",
        ),
    ),
    Rule(
        "5.1",
        "the order: hosts that the policy does not name are left out, then TLS, then the certificate; next host",
        (
            "test_rfc8461_5_1_hosts_that_the_policy_does_not_name_are_passed_over_in_mx_order",
            "test_rfc8461_5_1_a_policy_is_found_held_against_attackers_and_replaced_by_its_domain",
        ),
    ),
    Rule(
        "5, 5.1",
        "no failure is permanent: what fails waits, after another look at the id",
        (
            "test_rfc8461_5_no_failure_is_permanent",
            "test_rfc8461_5_1_a_recheck_looks_after_it_was_asked_for",
            "test_rfc8461_5_1_a_policy_that_changed_meanwhile_is_heard_before_the_message_waits",
            "test_rfc8461_5_1_a_policy_that_stays_holds_the_message",
            "test_rfc8461_5_1_another_id_is_fetched_at_once",
        ),
    ),
    Rule(
        "7.1",
        "SNI is the MX host",
        ("test_rfc8461_7_1_sni_is_the_mx_host", "test_rfc8461_7_1_the_handshake_names_the_mx_host"),
    ),
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
)
RFC8689 = (
    Rule(
        "2",
        "REQUIRETLS is offered and used inside TLS only",
        (
            "test_rfc8689_2_requiretls_is_offered_inside_tls_only",
            "test_rfc8689_2_the_parameter_in_clear_is_refused",
            "test_rfc8689_2_the_parameter_is_used_inside_tls_and_where_it_is_offered_only",
            "test_rfc8689_2_the_parameter_stands_in_the_mail_command",
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
        (
            "test_rfc8689_4_1_the_demand_goes_through_a_restart_to_the_next_server",
            "test_rfc8689_4_1_what_the_sender_demands_of_tls_is_remembered",
        ),
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
            "test_rfc8689_4_2_1_while_another_host_may_support_it_the_message_waits",
            "test_rfc8689_4_2_1_what_an_attacker_can_cause_is_never_permanent",
            "test_rfc8689_4_2_1_without_tls_it_is_held_for_now",
        ),
    ),
    Rule(
        "4.2.2",
        "with the header, TLS is still tried first, and DANE and MTA-STS demand nothing",
        (
            "test_rfc8689_4_2_2_the_header_lifts_what_dns_demands_and_tls_is_still_tried_first",
            "test_rfc8689_4_2_2_the_header_lifts_a_failed_tlsa_lookup_and_a_policy",
            "test_rfc8689_4_2_2_with_the_header_it_goes_out_whatever_dane_says",
        ),
    ),
    Rule(
        "4.3",
        "who submits may demand REQUIRETLS, inside TLS; there is no submission with authentication yet",
        ("test_rfc8689_4_3_a_message_is_not_submitted_in_clear_with_requiretls",),
    ),
    Rule("4.4", "final delivery", instead="there are no mailboxes here: every message goes to another server"),
    Rule(
        "5",
        "the notification demands REQUIRETLS too, and holds the header only",
        (
            "test_rfc8689_5_the_notification_demands_requiretls_too_and_holds_the_header_only",
            "test_rfc8689_5_and_rfc3461_4_3_the_header_goes_back_and_never_the_body",
        ),
    ),
    Rule("6", "re-origination", instead="nothing here sends a message anew: no lists, no forwarding by content"),
)
RFC3207 = (
    Rule(
        "4",
        "a public server takes mail without STARTTLS",
        ("test_rfc3207_4_mail_without_tls_is_taken_though_tls_is_offered",),
    ),
    Rule(
        "4",
        "the client waits for 220, and goes on when it is refused, where it may",
        (
            "test_rfc3207_4_starttls_is_the_last_word_until_220",
            "test_rfc3207_4_nothing_but_220_begins_the_handshake",
            "test_rfc3207_4_starttls_is_not_said_to_a_server_that_does_not_offer_it",
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
        "octets behind 220 in cleartext end the session (CVE-2011-0411)",
        (
            "test_rfc3207_4_2_plaintext_injected_after_220_breaks_the_handshake",
            "test_rfc3207_4_2_injected_octets_end_the_session_whatever_is_required",
            "test_rfc3207_4_2_injection_is_not_retried_in_clear",
        ),
    ),
    Rule("6", "a sender may remember that a server offered STARTTLS", instead="allowed, and not done yet"),
)
