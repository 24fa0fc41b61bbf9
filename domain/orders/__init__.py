"""An order's life: its lifecycle, its dossier, what is decided on its rows."""
