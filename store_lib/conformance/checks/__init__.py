"""The checks, a module a topic; importing a module registers its behaviours."""
