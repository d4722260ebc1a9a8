"""What a user asks for: protocols, run specifications, suites, plug-ins."""
