"""Files answered from releases and directories."""
