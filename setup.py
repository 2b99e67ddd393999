"""The one thing that pyproject.toml cannot say: the projection is compiled when the package is installed."""

from setuptools import setup

setup(cffi_modules=["scpo_ctrl/projection/build.py:ffi"], options={"bdist_wheel": {"py_limited_api": "cp311"}})
