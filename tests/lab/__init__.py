"""Tests of the lab: its zones, servers and attackers, and the table of attacks."""
