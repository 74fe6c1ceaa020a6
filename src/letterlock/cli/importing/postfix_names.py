"""Postfix's parameters that need no key here, its restrictions that always hold here, and hints about the rest."""

_HARMLESS_NAMES = """
alias_database append_dot_mydomain biff broken_sasl_auth_clients command_directory compatibility_level
daemon_directory data_directory debug_peer_level debugger_command disable_vrfy_command html_directory
local_recipient_maps mail_name mail_owner mail_version mailbox_size_limit mailq_path manpage_directory
maillog_file meta_directory mydomain myorigin mynetworks_style newaliases_path queue_directory
readme_directory sample_directory sendmail_path setgid_group shlib_directory smtp_dns_support_level
smtp_host_lookup smtp_sasl_auth_enable smtp_sasl_security_options smtp_sasl_tls_security_options
smtp_tls_loglevel smtp_tls_note_starttls_offer smtp_tls_session_cache_database smtpd_banner
smtpd_data_restrictions smtpd_delay_reject smtpd_helo_required smtpd_sasl_auth_enable
smtpd_sasl_authenticated_header smtpd_sasl_local_domain smtpd_sasl_security_options
smtpd_sasl_tls_security_options smtpd_tls_auth_only smtpd_tls_CAfile smtpd_tls_CApath smtpd_tls_loglevel
smtpd_tls_received_header smtpd_tls_session_cache_database smtpd_tls_session_cache_timeout smtpd_use_tls
smtp_use_tls smtputf8_enable strict_rfc821_envelopes syslog_name tls_preempt_cipherlist tls_random_source
unknown_local_recipient_reject_code milter_protocol smtpd_tls_wrappermode smtpd_tls_dh1024_param_file
smtpd_tls_eecdh_grade
"""
HARMLESS = frozenset(_HARMLESS_NAMES.split())
"""What is so here in any case, or concerns Postfix's own files."""
_INHERENT_NAMES = """
permit permit_mynetworks permit_sasl_authenticated permit_auth_destination reject reject_unauth_destination
defer_unauth_destination reject_unlisted_recipient reject_unknown_recipient_domain reject_non_fqdn_recipient
reject_unauth_pipelining reject_invalid_helo_hostname reject_non_fqdn_sender
"""
INHERENT = frozenset(_INHERENT_NAMES.split())
"""Restrictions that hold here without being configured."""

HINTS = {
    "smtp_tls_CAfile": "see `trust` of a rule",
    "smtp_tls_CApath": "see `trust` of a rule",
    "smtp_tls_protocols": "see `minimum_version` of a rule",
    "smtp_tls_mandatory_protocols": "see `minimum_version` of a rule",
    "smtpd_sasl_type": "users are in a file (letterlock users), a database, or Dovecot: see [accounts]",
    "smtpd_sasl_path": "users are in a file (letterlock users), a database, or Dovecot: see [accounts]",
    "content_filter": "see [milter]",
    "header_checks": "see [milter]",
    "body_checks": "see [milter]",
    "sender_dependent_relayhost_maps": "see [sender_route]",
    "smtpd_sender_login_maps": "see [accounts] sender_tables, and letterlock users add --sends-as",
}
