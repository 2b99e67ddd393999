"""The version of the installed package, which records and exported C carry."""

from importlib.metadata import version

__version__ = version("scpo-ctrl")
