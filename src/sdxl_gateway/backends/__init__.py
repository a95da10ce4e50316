"""Backends: supervised engine processes of this machine, replicas of a Ray cluster, or a thread of this process."""
