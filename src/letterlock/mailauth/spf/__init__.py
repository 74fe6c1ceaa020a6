"""SPF (RFC 7208) as a generator without sockets. `letterlock.spf` is the public door."""
