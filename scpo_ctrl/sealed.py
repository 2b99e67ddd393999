"""Classes whose behaviour is generated from their data, which nobody may extend, and checks of what is handed in."""

from typing import Any, ClassVar, NoReturn, SupportsIndex

from scpo_ctrl.errors import ClassError


class Sealed:
    """Base of a class that refuses subclasses: engines, checks and exported C read its data and not its methods.

    ``class Policy(Sealed, instead="…")`` names what to use instead of a subclass.
    """

    _instead: ClassVar[str]

    def __init_subclass__(cls, instead: str = "") -> None:
        super().__init_subclass__()
        above = [base for base in cls.__mro__[1:] if issubclass(base, Sealed) and base is not Sealed]
        if above:
            raise ClassError(
                f"class {cls.__name__} extends {above[0].__name__}, whose behaviour is generated from its data: "
                f"rollouts and exported C would not see a method of yours; {above[0]._instead}"
            )
        cls._instead = instead


class AtWork:
    """Base of a class that holds what other processes cannot have: a run, or processes of its own.

    ``class Adapter(AtWork, rather="…")`` names what to hand over instead.
    """

    _rather: ClassVar[str]

    def __init_subclass__(cls, rather: str = "", **others: Any) -> None:
        super().__init_subclass__(**others)
        if rather:
            cls._rather = rather

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Refuse pickles and copies, which would share what they must not."""
        raise ClassError(f"the {type(self).__name__} is at work, and is neither pickled nor copied; {self._rather}")


def as_instance(name: str, value: Any, *classes: type) -> None:
    """Refuse an object that only looks like one of the classes needed.

    Parameters
    ----------
    name : str
        What the object is called in the error message.
    value : object
        The object.
    *classes : type
        Of which it must be an instance.

    Raises
    ------
    ClassError
        If it is not.
    """
    if isinstance(value, classes):
        return
    found = f"the class {value.__name__} itself" if isinstance(value, type) else f"of class {type(value).__name__}"
    expected = " or ".join(one.__name__ for one in classes)
    instead = next((one._instead for one in classes if issubclass(one, Sealed)), "")
    advice = f"; its data count, not methods of the same name: {instead}" if instead else ""
    raise ClassError(f"{name} is {found}, expected an object of class {expected}{advice}")
