"""What the header of the runtime says of the projection, for exports that have a control function of their own."""

import re

_OF_CONTROL = re.compile(  # parts that are not of the projection
    r"typedef enum|/\* (The exported parameters|u = sat|Parameters ready|A controller in use|Makes theta|scpo_control "
    r"with|The set that)|#if SCPO_GUARD"
)


def projection_part(header: str) -> str:
    """Return all of the header's body but statuses, parameters and control.

    Parameters
    ----------
    header : str
        Text of the runtime's scpo.h, with its own prefix.

    Returns
    -------
    str
    """
    body = header.split('extern "C" {\n#endif\n\n')[1].rsplit("\n#ifdef __cplusplus", 1)[0]
    kept = [part for part in body.split("\n\n") if not _OF_CONTROL.match(part)]
    return "\n\n".join(kept).rstrip("\n")
