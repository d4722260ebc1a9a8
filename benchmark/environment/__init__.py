"""The machine: device, compute settings, versions, allocator, progress, signals."""
