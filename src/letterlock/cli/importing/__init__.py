"""Translates the configuration of other mail servers into ours."""
