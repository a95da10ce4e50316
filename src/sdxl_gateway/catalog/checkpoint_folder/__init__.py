"""What lies in the checkpoint folder, by name: found, read and watched."""
