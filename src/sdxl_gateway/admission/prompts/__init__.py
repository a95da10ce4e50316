"""What a prompt says besides its words."""
