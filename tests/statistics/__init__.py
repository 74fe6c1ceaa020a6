"""Statistics: what counts as what, and how it is summed up."""
