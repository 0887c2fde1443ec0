"""For tools that still call setup.py; the facts are in pyproject.toml."""

from setuptools import setup

setup()
