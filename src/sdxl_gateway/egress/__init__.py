"""The one way out: whatever the server asks of other servers goes through here."""
