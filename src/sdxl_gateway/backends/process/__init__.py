"""Jobs run in supervised engine processes of this machine."""
