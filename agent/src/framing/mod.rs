//! Floor 1: strict HTTP/1.1 message framing, as a sans-I/O scanner.
