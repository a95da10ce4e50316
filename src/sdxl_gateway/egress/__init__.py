"""The one way out: all requests to other servers go through here."""
