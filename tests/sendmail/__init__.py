"""The sendmail and mailq commands."""
