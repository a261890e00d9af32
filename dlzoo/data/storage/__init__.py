"""Where images are kept: decoded files, memory, a device."""
