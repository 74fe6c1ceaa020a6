"""RFC 3030 (CHUNKING), RFC 6152 (8BITMIME), RFC 6531 (SMTPUTF8) and RFC 6533 (notifications of such mail)."""

from tests.checklist.rule import Rule

RFC3030 = (
    Rule(
        "2",
        "the octets of a chunk are counted; none of them is a command, an end or a dot too many",
        (
            "test_rfc3030_2_a_message_in_one_chunk",
            "test_no_octet_of_a_chunk_is_a_command",
            "test_no_octet_of_a_chunk_is_a_command_wherever_it_is_cut",
            "test_dots_mean_nothing_and_stay_as_they_are",
        ),
    ),
    Rule(
        "2",
        "each chunk is answered; LAST ends the message, with or without octets",
        (
            "test_rfc3030_2_each_chunk_has_its_answer_and_they_make_one_message",
            "test_an_empty_last_chunk_ends_the_message_or_is_an_empty_one",
        ),
    ),
    Rule(
        "2",
        "a chunk that is refused is read to its end, and all that belong to it are refused",
        (
            "test_rfc3030_2_unwanted_chunks_are_read_and_refused",
            "test_rfc3030_2_after_a_refused_chunk_all_that_follow_are_refused",
            "test_a_chunk_beyond_the_limit_takes_no_memory",
        ),
    ),
    Rule(
        "2",
        "between chunks neither DATA nor MAIL; RSET and EHLO forget what came",
        (
            "test_rfc3030_2_between_chunks_only_another_chunk_goes_on",
            "test_what_ends_the_transaction_forgets_the_chunks",
        ),
    ),
    Rule(
        "2",
        "the client sends the message as it is, in one chunk, and only where CHUNKING is offered",
        (
            "test_rfc3030_2_a_message_goes_in_one_chunk_as_it_is",
            "test_where_it_is_not_offered_or_not_wanted_data_is_used",
        ),
    ),
    Rule("3", "BINARYMIME is not offered, and refused", ("test_rfc3030_3_binarymime_is_not_offered_and_refused",)),
    Rule(
        "4.2",
        "envelope and chunks may go in one group with PIPELINING",
        (
            "test_rfc3030_4_2_the_whole_message_in_one_group_with_its_envelope",
            "test_rfc3030_4_2_envelope_and_message_go_out_together",
            "test_nobody_accepted_the_answer_to_the_message_is_about_nobody",
        ),
    ),
)
RFC6152 = (
    Rule(
        "2",
        "content with octets above 127 is declared, and was 8BITMIME whatever it was called",
        ("test_rfc6152_2_8_bit_content_is_declared",),
    ),
    Rule(
        "3",
        "it is not sent where 8BITMIME is not offered: it fails, for converting would break signatures",
        (
            "test_rfc6152_3_8_bit_content_is_not_converted",
            "test_rfc6531_3_2_another_host_may_have_what_the_first_lacks",
        ),
    ),
    Rule(
        "3",
        "a notification reaches such a host all the same, in 7 bits",
        (
            "test_rfc6152_3_a_notification_with_8_bit_content_goes_on_in_7_bits",
            "test_rfc2046_5_2_1_a_message_is_not_encoded_and_its_header_goes_on",
        ),
    ),
)
RFC6531 = (
    Rule("3.1", "who offers SMTPUTF8 offers 8BITMIME", ("test_rfc6531_3_1_who_offers_smtputf8_offers_8bitmime",)),
    Rule(
        "3.2",
        "the client sends such mail only where SMTPUTF8 is offered, and asks every host before it gives up",
        (
            "test_rfc6531_3_2_never_to_a_server_that_does_not_offer_it",
            "test_rfc6531_3_2_another_host_may_have_what_the_first_lacks",
            "test_where_it_is_not_the_message_has_failed_with_5_6_7",
        ),
    ),
    Rule(
        "3.2",
        "domains are looked up as A-labels; both forms are one domain",
        ("test_rfc6531_3_2_a_u_label_and_its_a_label_are_one_domain",),
    ),
    Rule(
        "3.3",
        "addresses are UTF-8 without controls, within the limits in octets",
        (
            "test_rfc6531_3_3_a_local_part_beyond_ascii_needs_smtputf8",
            "test_no_controls_no_line_ends_no_halves_and_64_octets_of_utf8",
        ),
    ),
    Rule(
        "3.4",
        "MAIL says SMTPUTF8, and it holds for one transaction",
        (
            "test_rfc6531_3_4_with_smtputf8_addresses_may_be_utf8",
            "test_rfc6531_3_4_the_client_says_smtputf8_and_writes_utf8",
            "test_smtputf8_is_of_one_transaction",
        ),
    ),
    Rule(
        "3.5",
        "without it they are refused with 5.6.7",
        ("test_rfc6531_3_5_without_smtputf8_they_are_refused_with_5_6_7",),
    ),
    Rule(
        "3.7.4",
        "VRFY and EXPN take the parameter; replies stay ASCII",
        ("test_rfc6531_3_7_4_vrfy_and_expn_take_smtputf8_and_answer_in_ascii",),
    ),
    Rule("4.3", "Received says UTF8SMTP or UTF8SMTPS", ("test_rfc6531_4_3_the_received_field_says_utf8smtp",)),
)
RFC6533 = (
    Rule(
        "3",
        "an address is of type utf-8; where UTF-8 cannot go it is written in 7 bits",
        (
            "test_rfc6533_3_an_address_beyond_ascii_is_encoded",
            "test_rfc6533_3_an_orcpt_in_utf_8_is_kept_in_seven_bits",
            "test_rfc6533_3_an_original_recipient_is_decoded_where_utf_8_is_read",
        ),
    ),
    Rule(
        "4",
        "who writes UTF-8 gets global-delivery-status, global-headers or the message as message/global",
        (
            "test_rfc6533_4_whoever_writes_utf_8_reads_it",
            "test_rfc6533_4_a_whole_message_with_a_utf_8_header_is_message_global",
            "test_rfc6533_4_a_sender_beyond_ascii_gets_a_global_notification",
        ),
    ),
    Rule("5", "on a way of 7 bits these parts are encoded", ("test_rfc6533_5_what_is_global_is_encoded",)),
)
