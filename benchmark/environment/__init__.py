"""The machine and this process: device, compute settings, versions, allocator, progress, signals."""
