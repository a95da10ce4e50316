"""The audit log: lines in a hash chain, which cannot be changed, cut or removed unnoticed."""
