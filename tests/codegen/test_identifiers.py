"""Names of users as identifiers of C."""

import re

import pytest

from scpo_ctrl.codegen.identifiers import identifiers


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("angle", "angle"),
        ("filtered angle", "filtered_angle"),
        ("K00", "K00"),
        ("θ", "theta"),
        ("Δp", "delta_p"),
        ("vitesse é", "vitesse_e"),
        ("2nd", "y_2nd"),
        ("", "y0"),
        ("*/", "y0"),
        ("_x_", "x"),
        ("double", "double_2"),
        ("class", "class_2"),
        ("NAN", "NAN_2"),
        ("x" * 100, "x" * 40),
        ("\u4f4d\u7f6e", "y0"),
    ],
)
def test_names(label, name):
    assert identifiers([label], "y") == (name,)


def test_names_are_different_and_not_taken():
    assert identifiers(["a b", "a-b", "a_b"], "y") == ("a_b", "a_b_2", "a_b_3")
    assert identifiers(["sin", "u"], "y", {"sin", "u"}) == ("sin_2", "u_2")
    many = identifiers(["é*" * k for k in range(50)], "y")
    assert len(set(many)) == 50 and all(re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) for name in many)
