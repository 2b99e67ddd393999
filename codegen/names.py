"""Prefixes of an export that meet no name of somebody else.

Every name in the C code is the prefix, an underscore and a fixed ending; files, targets of CMake and objects carry an
ending too. So keywords, functions and macros of a library, targets of Make and CMake, and files of the export itself
cannot be met. Left over are the names below, where the prefix alone, or with an ending, is taken already.
"""

import re

from scpo_ctrl.errors import DomainError
from scpo_ctrl.messages import shown

_LONGEST = 24
_FORM = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
# <prefix>.h comes first on the include path and would hide a header of this name; some file systems have no case.
_HEADERS = {
    "of the C library": """
        aio aliases alloca ar argp argz assert byteswap complex cpio ctype devctl dirent dlfcn elf endian envlock envz
        err errno error execinfo fastmath fcntl features fenv float fmtmsg fnmatch fstab fts ftw gconv getopt glob grp
        gshadow iconv ieeefp ifaddrs inttypes iso646 langinfo lastlog libgen libintl limits link locale malloc math
        mcheck memory mntent monetary mqueue ndbm netdb newlib nl_types nss obstack paths picolibc picotls poll printf
        proc_service pthread pty pwd re_comp reent regdef regex regexp resolv sched search semaphore semihost setjmp
        sgtty shadow signal spawn stab stdalign stdarg stdatomic stdbit stdbool stdckdint stddef stdint stdio stdio_ext
        stdlib stdnoreturn strings string stropts syscall sysexits syslog tar termio termios tgmath thread_db threads
        time trace ttyent uchar ucontext ulimit unctrl unistd utime utmp utmpx values varargs wait wchar wctype
        wordexp""",
    "of a compiler": """
        acc_prof altivec arm64intr arm_acle arm_bf16 arm_cde arm_cmse arm_fp16 arm_mve arm_mve_types arm_neon arm_sve
        armintr backtrace builtins cet cpuid gcov hexagon_protos hexagon_types hvx_hexagon_protos mm3dnow mm_malloc msa
        omp openacc quadmath quadmath_weak riscv_vector stdfix syslimits unwind vadefs wasm_simd128""",
    "of Windows": """
        basetsd conio crtdbg crtdefs direct dos errhandlingapi guiddef intrin io libloaderapi mbctype mbstring minwindef
        new objbase ole2 process processthreadsapi psapi sal share shellapi synchapi sysinfoapi tchar tlhelp32 winbase
        windef windows windowsx winerror wingdi winnt winreg winsock winsock2 winuser ws2tcpip""",
    "of macOS or BSD": """
        asl bitstring bsd bsm copyfile db kvm launch libproc libutil login_cap membership notify ntsid objc ranlib
        readpassphrase removefile runetype standards stringlist sysdir timeconv tzfile util vis xattr xlocale""",
    "of Arduino": """
        arduino binary client eeprom hardwareserial ipaddress pins_arduino print printable server spi stream udp usbapi
        wcharacter wire wiring_private wprogram wstring""",
}
_VECTORS = re.compile(r".*intrin")  # immintrin.h and a hundred others of compilers
_LIBRARIES = """
    advapi32 c c_nano crypt dl g g_nano gcc gcov gdi32 gloss gomp kernel32 m msvcrt nosys ole32 pthread rdimon rt
    semihost stdc ucrt user32 util ws2_32"""  # lib<prefix>.a would be taken for it
_DEVICES = ("aux", "con", "nul", "prn", *(f"{port}{k}" for port in ("com", "lpt") for k in range(10)))
# X_OK of unistd.h, FE_UNDERFLOW of fenv.h, si_status of signal.h and the like: an ending of ours, their prefix.
_IDENTIFIERS = """
    dec ei f fe getopt group mm msg negative nt pf positive r re res rlim rlim64 sched_get_priority shm shn si
    so_busy_poll splice_f va w x"""
# Targets that generators of CMake make themselves.
_TARGETS = """
    all all_build clean continuous depend edit_cache experimental help install install_local install_strip
    list_install_components nightly package package_source preinstall rebuild_cache run_tests test uninstall
    zero_check"""


def check_prefix(prefix: object) -> str:
    """Return the prefix of an export, after checking that its names meet none of somebody else.

    Parameters
    ----------
    prefix : object
        From the user.

    Returns
    -------
    str

    Raises
    ------
    DomainError
        If it is no name, or one that is taken.
    """
    if not isinstance(prefix, str) or not _FORM.fullmatch(prefix) or len(prefix) > _LONGEST:
        raise _refused(prefix, "it is no name of that form")
    if reason := _taken(prefix):
        raise _refused(prefix, reason)
    return prefix


def has_plain_target(prefix: str) -> bool:
    """Return whether CMake leaves a target of this name to its users.

    Parameters
    ----------
    prefix : str
        Checked.

    Returns
    -------
    bool
    """
    return prefix not in _TARGETS.split()


def renamed(text: str, prefix: str) -> str:
    """Put the user's prefix in the place of the runtime's own, at the start of names, in one pass.

    Parameters
    ----------
    text : str
        Of a file of the runtime, or of a template before it is filled in: text of a user is never renamed.
    prefix : str

    Returns
    -------
    str
    """
    return _OURS.sub(lambda found: prefix.upper() if found[0].isupper() else prefix, text)


_OURS = re.compile(r"\bscpo(?=_|\.(?:h|hpp|a2l)\b)|\bSCPO(?=_)|(?<=\btest_)scpo(?=\.c\b)")


def _taken(prefix: str) -> str | None:
    """Say whose name it is; None where it is nobody's."""
    for whose, names in _HEADERS.items():
        if prefix in names.split():
            return f"its header would hide {prefix}.h {whose}"
    if _VECTORS.fullmatch(prefix):
        return f"its header would hide {prefix}.h of a compiler"
    if prefix in _LIBRARIES.split():
        return f"lib{prefix}.a would be taken for a library of the system"
    if prefix in _DEVICES:
        return f"Windows has no files of this name: {prefix} is a device"
    if prefix in _IDENTIFIERS.split():
        return f"the C library has names of its own that begin with {prefix}_"
    return None


def _refused(prefix: object, reason: str) -> DomainError:
    return DomainError(
        f"prefix {shown(prefix)} cannot name C functions and files: {reason}; use up to {_LONGEST} lower-case letters, "
        "digits and single underscores, a letter first, and not the name of a C library header or of another library"
    )
