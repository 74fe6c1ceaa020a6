"""Real programs: signed zones, name servers, Unbound, Postfix, swaks, and Letterlock as the command it is."""
