"""Leaderboards, statistics, figures and web pages made from data frames of run records."""
