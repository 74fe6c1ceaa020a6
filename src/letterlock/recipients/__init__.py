"""Who a recipient of a local domain is: aliases, mailboxes, forwarding, and the Sender Rewriting Scheme. Pure."""
