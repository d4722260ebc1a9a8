"""Records on disk: run folders, leases, checks, upgrades, and tables and documents made from them."""
