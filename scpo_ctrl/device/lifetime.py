"""How long a flash lasts that parameters are saved to."""

from dataclasses import dataclass

from scpo_ctrl.device.blob import HEADER
from scpo_ctrl.errors import DomainError
from scpo_ctrl.validate import as_choice, as_count, as_scalar

SEALS, SEAL = 12, 8  # cells at the start of a sector, and their bytes; as in scpo_sectors.h
_LARGEST_UNIT = 32  # [B]
_DAYS = 365.25  # of a year


@dataclass(frozen=True)
class Lifetime:
    """What saving costs a flash."""

    years: float  # until its sectors have been erased as often as they may be
    records: int  # that fit a sector
    erasures: float  # a day, of one sector each; at most

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{self.years:.3g} years: {self.records} records a sector, at most {self.erasures:.3g} erasures a day"


def lifetime(
    parameters: int,
    saves: float,
    *,
    real: str = "float",
    resets: float = 1.0,
    cycles: float = 10_000,
    sectors: int = 2,
    sector_size: int = 4096,
    program_unit: int = 8,
) -> Lifetime:
    """Return how long a flash lasts.

    A sector is erased when the last one is full, and once after each reset; they take turns.

    Parameters
    ----------
    parameters : int
        How many θ has.
    saves : float
        A day.
    real : str
        "float" or "double", as the export was made.
    resets : float
        A day, after which something is saved.
    cycles : float
        How often a sector may be erased, from the data sheet.
    sectors : int
        2 or more.
    sector_size : int
        [B]
    program_unit : int
        [B] 1, 2, 4, 8, 16 or 32.

    Returns
    -------
    Lifetime

    Raises
    ------
    DomainError
        If an argument is out of range, or no record fits a sector.
    """
    size = {"float": 4, "double": 8}[as_choice("real", real, ("float", "double"))]
    parameters, sectors = as_count("parameters", parameters, at_least=1), as_count("sectors", sectors, at_least=2)
    unit = as_count("program_unit", program_unit, at_least=1, at_most=_LARGEST_UNIT)
    if unit & (unit - 1):
        raise DomainError(f"program_unit = {unit} is none of 1, 2, 4, 8, 16 and 32; give the one of the data sheet")
    rates = {"saves": saves, "resets": resets, "cycles": cycles}
    for name, value in rates.items():
        rates[name] = as_scalar(name, value)
        if rates[name] < 0:
            raise DomainError(f"{name} = {value:g} is negative; give how many there are")
    record = HEADER.size + 4 + _whole(size * parameters, unit)
    records = (as_count("sector_size", sector_size, at_least=1) - SEALS * _whole(SEAL, unit)) // record
    if records < 1:
        raise DomainError(
            f"a record of {record} bytes does not fit a sector of {sector_size}; join sectors to larger ones"
        )
    erasures = rates["saves"] / records + min(rates["resets"], rates["saves"])
    years = sectors * rates["cycles"] / erasures / _DAYS if erasures else float("inf")
    return Lifetime(years, records, erasures)


def _whole(size: int, unit: int) -> int:
    return -(-size // unit) * unit
