"""RFC 6698 and RFC 7671: DANE itself."""

from tests.checklist.rule import Rule

RFC7671 = (
    Rule(
        "4.1",
        "opportunistic use takes usages 2 and 3 only",
        ("test_rfc7671_4_1_usages_0_and_1_match_nothing_and_hide_nothing",),
    ),
    Rule(
        "5.1",
        "DANE-EE looks at the server's own certificate only, and not at its dates or names",
        (
            "test_rfc7671_5_1_dane_ee_looks_only_at_the_servers_own_certificate",
            "test_rfc7671_5_1_dates_count_for_dane_ta_and_not_for_dane_ee",
        ),
    ),
    Rule(
        "5.2",
        "DANE-TA names an authority, never the server's own certificate",
        ("test_rfc7671_5_2_dane_ta_never_names_the_servers_own_certificate",),
    ),
    Rule(
        "5.2.1",
        "the server sends the authority that DANE-TA names, unless the record holds it whole",
        ("test_rfc7671_5_2_1_what_the_server_must_send_for_dane_ta",),
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
            "test_rfc7671_7_and_rfc7672_2_2_2_the_base_domain_of_signed_hosts_and_aliases",
            "test_rfc7672_2_2_2_a_secure_chain_asks_at_its_end_first",
            "test_rfc7672_2_2_2_insecure_records_at_the_end_do_not_hide_the_name",
            "test_rfc7672_2_2_2_unusable_records_at_the_end_are_records_too",
        ),
    ),
    Rule(
        "8.1-8.4",
        "while a publisher changes keys or authorities, any record that fits will do, if all have the same digests",
        (
            "test_rfc7671_8_during_a_change_the_record_that_fits_will_do",
            "test_rfc7671_8_1_a_digest_that_only_one_of_two_keys_has_spoils_the_change",
        ),
    ),
    Rule(
        "9",
        "digest agility: the strongest digest of each usage and selector, and every full record",
        (
            "test_rfc7671_9_of_several_digests_only_the_strongest_counts",
            "test_rfc7671_9_full_and_other_groups_are_not_touched_by_agility",
        ),
    ),
    Rule(
        "10.1",
        "answers too large for UDP are fetched by TCP",
        ("test_rfc7671_10_1_an_answer_too_large_for_udp_is_fetched_by_tcp",),
    ),
    Rule(
        "10.2",
        "DANE-TA certificates must speak for a reference name, DANE-EE ones need not",
        (
            "test_rfc7671_10_2_names_count_for_dane_ta_and_not_for_dane_ee",
            "test_rfc7672_3_2_2_dane_ta_needs_one_of_the_reference_identifiers",
        ),
    ),
)
RFC6698 = (
    Rule(
        "2.1.1-2.1.4",
        "an unknown usage, selector or matching type, or a digest of the wrong length, spoils that record alone",
        (
            "test_rfc6698_2_1_1_to_2_1_3_every_value_of_every_field",
            "test_rfc6698_2_1_4_a_digest_has_its_length",
            "test_rfc6698_2_1_a_record_that_cannot_be_used_is_unusable_by_itself",
        ),
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
    Rule(
        "3",
        "port, protocol and base make the name",
        (
            "test_rfc6698_3_and_rfc7672_2_2_3_each_port_has_its_own_records",
            "test_rfc7672_2_2_3_the_port_really_used_is_asked_for",
        ),
    ),
    Rule(
        "4.1",
        "only secure records are usable; what could not be found out stops the mail for now",
        (
            "test_rfc6698_4_1_the_state_of_the_tlsa_answer_decides_what_it_is_worth",
            "test_rfc6698_4_1_records_of_an_unsigned_host_are_not_asked_for",
        ),
    ),
)
