"""The operator's rules and routes by domain, and where mail ends on this machine. Pure."""
