//! What the director reads of the maps between its changes.

use lb_common::abi::Schedule;

use super::Maps;

impl Maps {
    /// State of the scheduler of a service; `None` beyond the map's size.
    #[must_use]
    pub fn schedule(&self, service: u32) -> Option<Schedule> {
        self.memory.schedules.read(service)
    }
}

/// Returns when every run of the program that had begun before the call has ended: none of them reads
/// any more what was replaced in the maps before.
pub fn synchronize() {
    // MEMBARRIER_CMD_GLOBAL waits for an RCU grace period (kernel/sched/membarrier.c), in which XDP runs.
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: a system call without pointers.
    let failed = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) } != 0;
    if failed {
        // A kernel without it (nohz_full): far longer than a program runs.
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
