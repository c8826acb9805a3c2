"""What the proxy tells of itself: log, access log, events, metrics, traffic, status, and its service manager."""
