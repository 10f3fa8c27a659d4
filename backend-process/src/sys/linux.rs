//! Linux: memfd, pidfd, epoll, `/proc`.

#[cfg(feature = "entry")]
mod constructors;
mod futex;
mod image;
mod memory;
mod process;
mod socket;

#[cfg(feature = "entry")]
pub(crate) use constructors::run_constructors_after;
pub(crate) use futex::{sleep_at, wake_all};
pub(crate) use image::Image;
pub(crate) use memory::{Original, SharedMemory, as_bytes};
pub(crate) use process::{
    Fork, Wait, become_worker_process, block_all_signals, close_all_but, count_oom_kills, exit_now,
    fill_standard_descriptors, fork, ignore_broken_pipes, is_privileged, kill_group, lift_all,
    limit_memory, monotonic_nanos, num_threads, reap, take_env_if, to_pid, wait_readable,
    watch_children,
};
pub(crate) use socket::{Packet, is_packet_socket, packet_pair, receive, send};
