"""Where jobs run: supervised engine processes of this machine, or a thread of this one."""
