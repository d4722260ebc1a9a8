"""How a compact network comes about: start, schedule, which filter goes next, dropout."""
