"""SMTP (RFC 5321), submission (6409, 8314), DSN (3461), logins (4954, 5802, 7677, 9266), null MX, LIMITS (9422)."""

from tests.checklist.rule import Rule

RFC5321 = (
    Rule(
        "2.3.8",
        "only CRLF ends a line: a bare CR or LF is refused, and never sent",
        (
            "test_rfc5321_2_3_8_a_bare_lf_in_the_message_is_refused_from_loopback_too",
            "test_rfc5321_2_3_8_bare_line_ends_are_never_sent",
        ),
    ),
    Rule(
        "2.4",
        "domains are compared without regard to case, local parts of others with it",
        ("test_rfc5321_2_4_each_recipient_is_sent_to_once_and_only_domains_are_compared_without_case",),
    ),
    Rule(
        "3.6",
        "a server relays for those that it knows, and nobody else",
        (
            "test_rfc5321_3_6_an_mx_takes_mail_for_its_domains_and_relays_for_nobody",
            "test_rfc5321_3_6_2_others_reach_the_postmaster_and_our_domains_only",
        ),
    ),
    Rule("3.8", "421 ends a session, asked or unasked", ("test_rfc5321_3_8_421_ends_the_session_after_its_answer",)),
    Rule(
        "3.9.2",
        "a list has a reverse-path of its own",
        ("test_rfc5321_3_9_2_a_list_has_a_reverse_path_of_its_own",),
    ),
    Rule(
        "4.1.1.1",
        "EHLO lists the extensions, HELO lists nothing",
        ("test_rfc5321_4_1_1_1_ehlo_lists_the_extensions", "test_rfc5321_4_1_1_1_helo_lists_nothing"),
    ),
    Rule(
        "4.1.1.3",
        "forward-paths; a recipient given twice gets one copy; `<postmaster>` needs no domain",
        (
            "test_rfc5321_4_1_1_3_forward_paths",
            "test_rfc5321_4_1_1_3_a_recipient_given_again_gets_one_copy_and_the_first_rcpt_counts",
            "test_rfc5321_4_1_1_3_postmaster_needs_no_domain",
        ),
    ),
    Rule(
        "4.1.1.4",
        "what is content is no command; without a recipient there is no DATA",
        (
            "test_rfc5321_4_1_1_4_no_command_is_obeyed_within_content",
            "test_rfc5321_4_1_1_4_no_valid_recipients",
        ),
    ),
    Rule(
        "4.1.2",
        "the grammar of mailboxes, and nothing beyond it but odd dots, which are quoted",
        (
            "test_rfc5321_4_1_2_mailboxes",
            "test_rfc5321_4_1_2_what_is_not_a_mailbox_is_refused",
            "test_rfc5321_4_1_2_dots_that_the_grammar_does_not_have_are_quoted",
        ),
    ),
    Rule("4.1.3", "address literals", ("test_rfc5321_4_1_3_address_literals",)),
    Rule(
        "4.1.4",
        "the order of commands, for every command in every state",
        (
            "test_rfc5321_4_1_4_ehlo_ends_the_transaction",
            "test_every_pair",
            "test_any_order_of_commands_is_what_the_table_says",
        ),
    ),
    Rule(
        "4.2.5",
        "250 means that the message is on disk; a lost reply leaves it in doubt",
        (
            "test_rfc5321_4_2_5_no_250_before_the_store_has_it",
            "test_rfc5321_4_2_5_without_an_answer_to_the_message_it_is_in_doubt",
        ),
    ),
    Rule("4.4", "trace fields", ("test_rfc5321_4_4_the_field_says_from_by_with_id_for_and_when",)),
    Rule("4.5.1", "postmaster", ("test_rfc5321_4_5_1_everybody_may_write_to_the_postmaster",)),
    Rule("4.5.2", "dots", ("test_rfc5321_4_5_2_dots", "test_rfc5321_4_5_2_transparency")),
    Rule(
        "4.5.3.1.3-4.5.3.1.10",
        "sizes: local part, path, command line, text line, recipients",
        (
            "test_rfc5321_4_5_3_1_3_a_path_has_254_octets_at_most",
            "test_rfc5321_4_5_3_1_4_a_long_command_line_is_refused_and_the_next_one_read",
            "test_rfc5321_4_5_3_1_6_text_lines_have_at_most_1000_octets",
            "test_rfc5321_4_5_3_1_10_too_many_recipients_is_452_and_does_not_end_the_session",
        ),
    ),
    Rule("4.5.3.2.7", "a silent client is left", ("test_rfc5321_4_5_3_2_7_a_silent_client_is_told_and_left",)),
    Rule(
        "4.5.4.1",
        "how long, and how often, delivery is tried",
        (
            "test_rfc5321_4_5_4_1_the_wait_doubles_up_to_its_maximum",
            "test_rfc5321_4_5_4_1_after_the_lifetime_the_message_is_given_up_with_the_last_reason",
        ),
    ),
    Rule(
        "4.5.5",
        "notifications have the null reverse-path, and cause none",
        ("test_rfc5321_4_5_5_nobody_is_told_that_a_notification_failed_or_waits",),
    ),
    Rule(
        "5.1",
        "the hosts of a domain: their order, equals, this server among them, the implicit MX",
        (
            "test_rfc5321_5_1_hosts_come_by_preference",
            "test_rfc5321_5_1_equals_are_shuffled_within_their_preference_only",
            "test_rfc5321_5_1_hosts_no_better_than_this_one_are_left_out",
            "test_rfc5321_5_1_without_mx_the_domain_itself_is_the_host",
        ),
    ),
    Rule("6.3", "loops are noticed", ("test_rfc5321_6_3_a_hundred_received_fields_are_a_loop",)),
)
RFC6409 = (
    Rule(
        "3",
        "new mail comes to a port of its own, and is completed there",
        ("test_rfc6409_3_inside_tls_new_mail_is_completed",),
    ),
    Rule(
        "4.2",
        "domains are whole: an address without one is refused, not completed by a guess",
        ("test_rfc6409_4_2_an_address_without_a_whole_domain_is_refused",),
    ),
    Rule("4.3", "users log in before MAIL", ("test_rfc6409_4_3_mail_before_a_login_is_refused",)),
    Rule(
        "6.1",
        "a user sends only as addresses that are theirs",
        ("test_rfc6409_6_1_a_user_sends_only_as_their_addresses",),
    ),
    Rule("6.4", "postmaster can be reached", ("test_rfc6409_6_4_users_reach_the_postmaster",)),
    Rule("7", "the extensions of its table", ("test_rfc6409_7_the_extensions_of_its_table_are_offered",)),
    Rule(
        "8",
        "Date, Message-ID and From are added where they are missing, and nothing else is changed; they are signed",
        (
            "test_rfc6409_8_2_to_8_4_missing_fields_are_added",
            "test_rfc6409_8_a_message_that_has_them_stays_as_it_is",
            "test_rfc6409_8_fields_that_submission_adds_are_signed",
        ),
    ),
)
RFC8314 = (
    Rule(
        "3",
        "implicit TLS never falls back to clear, and has no STARTTLS inside",
        (
            "test_rfc8314_3_implicit_tls_never_falls_back_to_clear",
            "test_rfc8314_3_there_is_no_starttls_inside_tls",
        ),
    ),
    Rule(
        "3.3",
        "on the port of submissions the handshake comes before the greeting; elsewhere nothing is submitted in clear",
        (
            "test_rfc8314_3_3_implicit_tls_comes_before_the_greeting",
            "test_rfc8314_3_3_nothing_is_accepted_in_clear",
        ),
    ),
    Rule(
        "4.1",
        "TLS 1.2 and later only",
        ("test_rfc8314_4_1_nothing_older_than_tls_1_2_is_spoken",),
    ),
)
RFC3461 = (
    Rule("3", "DSN is offered without parameters", ("test_rfc3461_3_dsn_is_a_keyword_without_parameters",)),
    Rule(
        "4.1",
        "NOTIFY: who is notified of what",
        (
            "test_rfc3461_4_1_notify_is_never_or_some_of_three",
            "test_rfc3461_4_1_what_is_no_notify",
            "test_rfc3461_4_1_only_those_are_told_of_whom_it_is_wanted",
        ),
    ),
    Rule(
        "4.2",
        "ORCPT: the recipient as the sender knew it",
        ("test_rfc3461_4_2_the_original_recipient_has_a_type", "test_rfc3461_4_2_what_is_no_orcpt"),
    ),
    Rule("4.3", "RET: how much comes back", ("test_rfc3461_4_3_a_failure_comes_back_as_was_asked_for",)),
    Rule("4.4", "ENVID", ("test_rfc3461_4_4_an_envelope_id_has_100_octets_at_most",)),
    Rule(
        "5.2.1",
        "a next hop that offers DSN is passed all of it, and takes over the notices",
        (
            "test_rfc3461_5_2_1_wishes_go_on_as_they_came",
            "test_rfc3461_5_2_1_a_next_host_that_knows_dsn_is_told_and_we_say_nothing",
        ),
    ),
    Rule(
        "5.2.2",
        "a next hop that does not gets none of it, and a notice of relaying goes back where success was wished for",
        (
            "test_rfc3461_5_2_2_a_server_that_does_not_offer_dsn_gets_none_of_it",
            "test_rfc3461_5_2_2_relaying_is_told_where_success_was_asked_for",
        ),
    ),
    Rule("5.2.7.3", "aliases: success once", ("test_rfc3461_5_2_7_3_notice_of_success_goes_on_to_one_address_only",)),
    Rule("6", "the notice", ("test_rfc3461_6_a_notice_survives_a_restart_and_is_given_once",)),
)
RFC4954 = (
    Rule("3", "AUTH is offered where it can be used: inside TLS", ("test_rfc4954_3_auth_is_offered_inside_tls_only",)),
    Rule(
        "4",
        "the exchange, in every state; what is no base64, too long, or cancelled",
        (
            "test_rfc4954_4_a_user_logs_in_and_sends",
            "test_rfc4954_4_malformed_auth",
            "test_rfc4954_4_an_answer_to_a_challenge_is_never_a_command",
            "test_rfc4954_4_auth_is_not_for_the_middle_of_a_transaction",
            "test_rfc4954_4_any_order_of_commands_where_users_log_in",
        ),
    ),
    Rule("6", "one reply, whatever is wrong", ("test_rfc4954_6_whatever_is_wrong_the_reply_is_the_same",)),
)
RFC5802 = (
    Rule(
        "3",
        "the client believes no server that cannot prove itself",
        ("test_rfc5802_3_a_server_that_does_not_know_the_password_is_found_out",),
    ),
    Rule("5", "the exchange, as published", ("test_rfc5802_5_the_published_exchanges",)),
    Rule(
        "6",
        "channel binding, and its removal by somebody between",
        (
            "test_rfc5802_6_a_client_that_can_bind_says_so",
            "test_rfc5802_6_a_client_that_was_told_that_we_cannot_bind_is_refused",
        ),
    ),
)
RFC7677 = (
    Rule("3", "SCRAM with SHA-256, as recorded", ("test_rfc7677_3_recorded_exchanges_end_as_they_must",)),
    Rule(
        "4",
        "4,096 iterations at least",
        ("test_rfc7677_4_fewer_iterations_than_4096_are_refused_on_both_sides",),
    ),
)
RFC9266 = (
    Rule("3", "logins are bound by tls-exporter", ("test_rfc9266_3_a_login_bound_to_its_tls_session",)),
    Rule("4", "another session is refused", ("test_rfc9266_4_a_login_bound_to_another_session_is_refused",)),
)
RFC7505 = (
    Rule(
        "3",
        "a null MX is the only record of its domain, and mail for it fails at once",
        ("test_rfc7505_3_null_mx_is_refused", "test_rfc7505_3_a_null_mx_beside_others_is_no_host"),
    ),
)
RFC9422 = (
    Rule("3", "the keyword's form", ("test_rfc9422_3_the_keyword_has_the_form_of_the_standard",)),
    Rule(
        "4.2",
        "RCPTMAX is what is accepted; MAILMAX and RCPTDOMAINMAX are not offered, for there are no such limits",
        (
            "test_rfc9422_4_2_the_number_of_recipients_that_is_taken_is_offered",
            "test_rfc9422_4_2_more_recipients_than_were_offered_are_put_off_and_the_others_stay",
        ),
    ),
    Rule(
        "3",
        "what was offered in clear does not count inside TLS",
        ("test_rfc9422_3_what_is_offered_in_clear_is_forgotten_and_offered_again_inside_tls",),
    ),
)
