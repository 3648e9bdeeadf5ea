"""The file store on real directories."""
