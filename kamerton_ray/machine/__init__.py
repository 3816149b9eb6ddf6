"""What this machine is and allows: CPUs, quotas, threads, other work; it imports no other room.

Begin with `cpus.py`.
"""
