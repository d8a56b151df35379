"""Long runs that break things on purpose and count what was lost; bounded in time and count, loopback only."""
