//! [`Control`]: the packets between a pool and its zygote (or a worker that was executed).

use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use taskfarm_core::ProcessEnd;

use crate::record::Malformed;
use crate::sys::{self, Packet};

/// Changes whenever a lane, a message or a packet does.
pub(crate) const VERSION: u32 = 1;
const MAGIC: u32 = 0x7461_736B;
const NUM_WORDS: usize = 6;
const PACKET_LEN: usize = 8 + 8 * NUM_WORDS;

/// One packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// Pool: who I am and what you are to be.
    Hello(Hello),
    /// Child: we agree.
    Agreed,
    /// Child: I cannot be what you want, and leave.
    Refused(Refusal),
    /// Pool to zygote: fork a worker, for the lane whose descriptors come along.
    Fork { lane: u64 },
    /// Zygote: the worker of that lane has this pid; its pidfd comes along.
    Forked { lane: u64, pid: u32 },
    /// Zygote: no worker for that lane, because of this error number.
    NotForked { lane: u64, errno: i32 },
    /// Zygote: a worker has ended so.
    Ended { pid: u32, ended: ProcessEnd },
    /// Pool to zygote: leave.
    Leave,
    /// Pool to zygote: kill this worker, which the pool itself cannot.
    Kill { pid: u32 },
}

/// The first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    /// Of the executable and the anchor in it.
    pub(crate) identity: [u64; 2],
    /// The pool's process.
    pub(crate) pool: u32,
    /// How many pools lie above this process.
    pub(crate) depth: u32,
    /// Become a worker at once; the lane comes along. Otherwise a zygote.
    pub(crate) is_worker: bool,
    pub(crate) silent: bool,
    /// 0 for none.
    pub(crate) memory_limit: u64,
}

/// Why a child cannot be what its pool wants it to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// We are not the same executable.
    OtherProgram,
    /// A zygote with threads cannot fork: a lock held by one would stay locked in workers.
    HasThreads,
    /// Something that it needs failed with this error number.
    CannotStart { errno: i32 },
}

impl<E: Into<io::Error>> From<E> for Refusal {
    fn from(error: E) -> Self {
        let errno = error.into().raw_os_error().unwrap_or(0);
        Self::CannotStart { errno }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherProgram => f.write_str("it is another program than this one"),
            Self::HasThreads => f.write_str(
                "something in this program starts a thread before `main`, so it cannot be \
                 forked: use StartMethod::Exec",
            ),
            Self::CannotStart { errno } => {
                let error = io::Error::from_raw_os_error(*errno);
                write!(f, "it could not prepare itself: {error}")
            }
        }
    }
}

impl Control {
    pub(crate) fn send(
        self,
        socket: BorrowedFd<'_>,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        sys::send(socket, &self.encode(), descriptors)
    }

    /// The next packet; `None` when the other side is gone.
    pub(crate) fn receive(
        socket: BorrowedFd<'_>,
        wait: bool,
    ) -> io::Result<Option<(Self, Vec<OwnedFd>)>> {
        let Some(Packet { bytes, descriptors }) = sys::receive::<PACKET_LEN>(socket, wait)? else {
            return Ok(None);
        };
        match Self::decode(&bytes) {
            Ok(control) => Ok(Some((control, descriptors))),
            Err(Malformed) => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    pub(crate) fn encode(self) -> [u8; PACKET_LEN] {
        let (kind, words): (u64, [u64; NUM_WORDS]) = match self {
            Self::Hello(hello) => {
                let flags = u64::from(hello.is_worker) | u64::from(hello.silent) << 1;
                let pool = u64::from(hello.pool) << 32 | u64::from(hello.depth);
                let [file, anchor] = hello.identity;
                (1, [file, anchor, pool, flags, hello.memory_limit, 0])
            }
            Self::Agreed => (2, [0; NUM_WORDS]),
            Self::Refused(why) => {
                let (what, errno) = match why {
                    Refusal::OtherProgram => (0, 0),
                    Refusal::HasThreads => (1, 0),
                    Refusal::CannotStart { errno } => (2, errno),
                };
                (3, [what, u64::from(errno.cast_unsigned()), 0, 0, 0, 0])
            }
            Self::Fork { lane } => (4, [lane, 0, 0, 0, 0, 0]),
            Self::Forked { lane, pid } => (5, [lane, pid.into(), 0, 0, 0, 0]),
            Self::NotForked { lane, errno } => {
                (6, [lane, u64::from(errno.cast_unsigned()), 0, 0, 0, 0])
            }
            Self::Ended { pid, ended } => {
                let (how, code) = match ended {
                    ProcessEnd::Exited(code) => (0, code),
                    ProcessEnd::Signaled(signal) => (1, signal),
                    _ => (2, 0),
                };
                let code = u64::from(code.cast_unsigned());
                (7, [pid.into(), how, code, 0, 0, 0])
            }
            Self::Leave => (8, [0; NUM_WORDS]),
            Self::Kill { pid } => (9, [pid.into(), 0, 0, 0, 0, 0]),
        };
        let mut packet = [0; PACKET_LEN];
        let start = u64::from(MAGIC) << 32 | u64::from(VERSION) << 8 | kind;
        packet[..8].copy_from_slice(&start.to_ne_bytes());
        for (at, word) in words.iter().enumerate() {
            packet[8 + 8 * at..16 + 8 * at].copy_from_slice(&word.to_ne_bytes());
        }
        packet
    }

    fn decode(packet: &[u8; PACKET_LEN]) -> Result<Self, Malformed> {
        let mut words = packet.chunks_exact(8).map(|bytes| {
            let mut word = [0; 8];
            word.copy_from_slice(bytes);
            u64::from_ne_bytes(word)
        });
        let mut next = || words.next().ok_or(Malformed);
        let start = next()?;
        if start >> 8 != u64::from(MAGIC) << 24 | u64::from(VERSION) {
            return Err(Malformed);
        }
        let [a, b, c, d, e] = [next()?, next()?, next()?, next()?, next()?];
        Ok(match start & 0xFF {
            1 => Self::Hello(Hello {
                identity: [a, b],
                pool: (c >> 32) as u32,
                depth: c as u32,
                is_worker: d & 1 != 0,
                silent: d & 2 != 0,
                memory_limit: e,
            }),
            2 => Self::Agreed,
            3 => Self::Refused(match a {
                0 => Refusal::OtherProgram,
                1 => Refusal::HasThreads,
                _ => Refusal::CannotStart { errno: b as i32 },
            }),
            4 => Self::Fork { lane: a },
            5 => Self::Forked {
                lane: a,
                pid: b as u32,
            },
            6 => Self::NotForked {
                lane: a,
                errno: b as i32,
            },
            7 => Self::Ended {
                pid: a as u32,
                ended: match b {
                    0 => ProcessEnd::Exited(c as i32),
                    1 => ProcessEnd::Signaled(c as i32),
                    _ => ProcessEnd::Unknown,
                },
            },
            8 => Self::Leave,
            9 => Self::Kill { pid: a as u32 },
            _ => return Err(Malformed),
        })
    }
}

#[cfg(any(test, feature = "fuzzing"))]
impl Control {
    /// One packet of each kind.
    pub(crate) fn samples() -> [Self; 13] {
        let hello = Hello {
            identity: [1, u64::MAX],
            pool: 77,
            depth: 3,
            is_worker: true,
            silent: false,
            memory_limit: 1 << 40,
        };
        let ended = |ended| Self::Ended { pid: 9, ended };
        [
            Self::Hello(hello),
            Self::Agreed,
            Self::Refused(Refusal::OtherProgram),
            Self::Refused(Refusal::HasThreads),
            Self::Refused(Refusal::CannotStart { errno: 24 }),
            Self::Fork { lane: 5 },
            Self::Forked { lane: 5, pid: 6 },
            Self::NotForked { lane: 5, errno: 11 },
            ended(ProcessEnd::Exited(-1)),
            ended(ProcessEnd::Signaled(9)),
            ended(ProcessEnd::Unknown),
            Self::Leave,
            Self::Kill { pid: 6 },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_survive_the_journey() {
        for control in Control::samples() {
            assert_eq!(Control::decode(&control.encode()), Ok(control));
        }
    }

    #[test]
    fn another_version_is_malformed() {
        let mut packet = Control::Leave.encode();
        packet[1] ^= 2;
        assert_eq!(Control::decode(&packet), Err(Malformed));
    }
}
