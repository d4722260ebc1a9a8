"""Records on disk: run folders, leases, checks, upgrades, and the tables made of them."""
