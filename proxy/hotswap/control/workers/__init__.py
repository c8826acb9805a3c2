"""The data planes of this proxy, and how control speaks to them; see `docs/explanation/control-and-data-plane.md`."""
