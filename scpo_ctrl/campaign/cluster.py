"""Workers of Dask: a local cluster of processes, or those of a Dask scheduler that is there."""

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from scpo_ctrl.errors import ClusterError, MissingPackageError, cause
from scpo_ctrl.stop import left_to_parent

PACKAGES = ("scpo_ctrl", "numpy", "casadi", "distributed")  # whose versions decide the bits of a run, and its words
_PATIENCE = 10.0  # s within which a scheduler answers
_LOG_LENGTH = 1000  # events that a local scheduler remembers


def require() -> Any:
    """Return Dask's `distributed`.

    Returns
    -------
    module

    Raises
    ------
    MissingPackageError
        If it is not installed.
    """
    try:
        distributed = import_module("distributed")
    except ImportError as error:
        raise MissingPackageError(
            'workers of Dask need its package distributed, which is not installed; pip install "scpo-ctrl[sweep]"'
        ) from error
    for name in ("distributed", *(name for name in logging.root.manager.loggerDict if name.startswith("distributed."))):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters is said by errors and failures
    return distributed


@contextmanager
def local(workers: int) -> Iterator[Any]:
    """Start worker processes on this machine, each of one thread; one that dies is started anew.

    Parameters
    ----------
    workers : int

    Yields
    ------
    distributed.Client
    """
    distributed, dask = require(), import_module("dask")
    settings = {
        "distributed.admin.low-level-log-length": _LOG_LENGTH,
        "distributed.scheduler.worker-ttl": None,  # a long step of a run is no death
        "distributed.worker.profile.enabled": False,  # which takes as long as a short run
        "distributed.logging.distributed": "critical",
    }
    runner = distributed.utils.LoopRunner()
    with left_to_parent():
        runner.start()  # the thread that starts workers
    try:
        with (
            dask.config.set(settings),
            _forgotten_unless_started(distributed),
            distributed.LocalCluster(
                n_workers=workers, threads_per_worker=1, processes=True, host="127.0.0.1", loop=runner.loop,
                silence_logs=logging.CRITICAL,
                dashboard_address="127.0.0.1:0",  # any free port: another cluster may have the usual one
            ) as cluster,
            distributed.Client(cluster) as client,
        ):  # fmt: skip
            yield client
    finally:
        runner.stop()


@contextmanager
def _forgotten_unless_started(distributed: Any) -> Iterator[None]:
    """Keep Dask from closing clusters at the end that were interrupted while they started, which it cannot."""
    known = distributed.SpecCluster._instances
    before = set(known)
    try:
        yield
    finally:
        for cluster in set(known) - before:
            known.discard(cluster)


@contextmanager
def existing(address: str) -> Iterator[Any]:
    """Connect to a scheduler whose workers are of the same versions.

    Parameters
    ----------
    address : str
        Such as tcp://10.0.0.7:8786.

    Yields
    ------
    distributed.Client

    Raises
    ------
    ClusterError
        If it does not answer, or versions differ.
    """
    distributed = require()
    try:
        distributed.utils.LoopRunner().run_sync(_greet, distributed, address)
        client = distributed.Client(address, timeout=_PATIENCE)
    except Exception as error:  # whatever sockets and protocols make of an address
        raise ClusterError(
            f"{address}: no Dask scheduler answers within {_PATIENCE:g} s ({cause(error)}); start one "
            "(`dask scheduler`), check the address and firewalls, or leave --scheduler out for workers on this machine"
        ) from error
    try:
        check_versions(client)
        yield client
    finally:
        client.close(timeout=_PATIENCE)


async def _greet(distributed: Any, address: str) -> None:
    """Connect once: `Client` itself waits for ever where somebody listens who is no scheduler, and says nothing."""
    options = distributed.Security().get_connection_args("client")
    connection = await asyncio.wait_for(distributed.core.connect(address, timeout=_PATIENCE, **options), _PATIENCE)
    await connection.close()


def revive(client: Any) -> bool:
    """Start those workers anew that died while they were starting, which a local cluster gives up.

    Parameters
    ----------
    client : distributed.Client

    Returns
    -------
    bool
        Whether it is a local cluster.
    """
    if client.cluster is None:
        return False
    client.cluster.scale(len(client.cluster.worker_spec))
    return True


def keep_to_one_thread() -> None:
    """Let rollouts of a Dask worker have one thread, as there are to be as many workers as cores."""
    with suppress(ValueError):  # where this process is none
        import_module("distributed").get_worker()
        os.environ.setdefault("SCPO_THREADS", "1")


def check_versions(client: Any) -> None:
    """Refuse a scheduler that speaks otherwise, and workers whose numbers may be others than those of this machine.

    Parameters
    ----------
    client : distributed.Client

    Raises
    ------
    ClusterError
        If a version differs, or a package is missing.
    """

    def versions() -> dict[str, str]:  # goes to workers as code: they may not have this module
        from importlib import import_module

        found = {}
        for name in PACKAGES:
            try:
                found[name] = str(import_module(name).__version__)
            except ImportError:
                found[name] = "not installed"
        return found

    distributed, scheduler = require(), client.scheduler.address
    there = client.get_versions()["scheduler"]["packages"]["distributed"]
    if there != distributed.__version__:
        raise ClusterError(
            f"scheduler {scheduler} has distributed {there}, this machine {distributed.__version__}: one may not "
            "understand the other; install the same version on both"
        )
    here = versions()
    for address, there in client.run(versions, on_error="return").items():
        if isinstance(there, OSError):  # it went away meanwhile
            continue
        if not isinstance(there, dict):
            raise ClusterError(f"worker {address} does not tell its versions ({cause(there)}); give it the same Python")
        for name in PACKAGES:
            if there[name] != here[name]:
                raise ClusterError(
                    f"worker {address} has {name} {there[name]}, this machine {here[name]}: runs may differ; install "
                    "the same versions on both"
                )


def page(client: Any) -> str | None:
    """Return the address of Dask's own page, where there is one.

    Parameters
    ----------
    client : distributed.Client

    Returns
    -------
    str or None
    """
    if not find_spec("bokeh") or not client.scheduler_info().get("services", {}).get("dashboard"):
        return None
    return str(client.dashboard_link)
