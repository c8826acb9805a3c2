"""What the proxy tells of itself: log, access log, events, metrics, traffic, version, and its service manager."""
