"""The commands, one file a group; none of them decides anything."""
