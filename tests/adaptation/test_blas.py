"""One thread for BLAS within a run, and as many as before after it."""

from problems import scalar_problem
from threadpoolctl import ThreadpoolController

from scpo_ctrl import AdaptOptions, adapt


def blas_threads():
    return [library["num_threads"] for library in ThreadpoolController().select(user_api="blas").info()]


def test_a_run_has_one_thread_for_blas_and_gives_the_others_back():
    seen = []

    def look(state):
        seen.append(blas_threads())
        return state.step == 2

    with ThreadpoolController().limit(limits=2, user_api="blas"):
        before = blas_threads()
        adapt(scalar_problem(), AdaptOptions(steps=5), monitor=look)
        assert blas_threads() == before
    assert len(before) > 0 and max(before) == 2
    assert len(seen) == 2 and all(count == 1 for threads in seen for count in threads)
