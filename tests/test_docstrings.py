"""Every public name has an example in its docstring, and all of them run, in the order of what they continue."""

import doctest
import inspect

import pytest

import scpo_ctrl

FIRST = ("adapt", "overshoot", "identify")  # whose names other examples use
NAMES = [name for name in scpo_ctrl.__all__ if name != "__version__"]


@pytest.fixture(scope="module")
def made():
    """What the first examples make, by their names."""
    found: dict[str, object] = {}
    for name in FIRST:
        ran(name, found)
    return found


def ran(name, names):
    """Run the example of a name, which may use others and leaves its own."""
    example = doctest.DocTestParser().get_doctest(getattr(scpo_ctrl, name).__doc__, names, name, None, 0)
    example.globs = names
    said: list[str] = []
    failed, tried = doctest.DocTestRunner(optionflags=doctest.IGNORE_EXCEPTION_DETAIL).run(
        example, out=said.append, clear_globs=False
    )
    assert tried and not failed, "".join(said)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_says_what_comes_out(name, made):
    ran(name, dict(made))


def test_a_wrong_example_is_found():
    with pytest.raises(AttributeError):
        ran("nothing", {})


def test_help_names_types_as_they_are_written():
    functions = [found for name in NAMES if inspect.isfunction(found := getattr(scpo_ctrl, name))]
    assert scpo_ctrl.lqr in functions
    assert [found for found in functions if "numpy._typing" in str(inspect.signature(found))] == []
