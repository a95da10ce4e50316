"""A request's bytes become an Ask: the field table, and every spelling clients use."""
