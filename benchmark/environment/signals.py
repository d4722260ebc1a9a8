"""Signals that end a process as Ctrl-C does."""

from __future__ import annotations

import signal


def treat_termination_like_ctrl_c() -> None:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt, so that a supervisor's stop saves resume states too."""
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
