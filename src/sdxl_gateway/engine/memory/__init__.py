"""One ledger in bytes decides what stays on the device."""
