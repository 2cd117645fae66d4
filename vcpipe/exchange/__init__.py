"""Exchange with other code bases: the layouts that they read are written, those that they write are read."""
