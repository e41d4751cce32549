"""Erasures of data subjects: asked for, and what became of them."""
