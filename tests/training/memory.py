"""What a function allocates, told by torch's own allocator: the same in each run."""

from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile


def peak_of(work: Callable[[], object]) -> int:
    """Return the most bytes that were held at once on the CPU beyond those held before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watch:
        work()
    assert watch.profiler
    events = [e for e in watch.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak
