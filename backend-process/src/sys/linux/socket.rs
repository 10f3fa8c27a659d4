//! Packets with descriptors, over the socket between a pool and its zygote.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
    sockopt,
};

/// The most descriptors that one packet carries.
const MAX_DESCRIPTORS: usize = 4;

/// What [`receive`] got.
#[derive(Debug)]
pub(crate) struct Packet<const N: usize> {
    /// The bytes; shorter packets are padded with zeros.
    pub(crate) bytes: [u8; N],
    /// The descriptors that came along.
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// Two connected sockets that keep packets apart.
pub(crate) fn packet_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    Ok(socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        flags,
        None,
    )?)
}

/// Whether the descriptor is a socket that keeps packets apart.
pub(crate) fn is_packet_socket(descriptor: BorrowedFd<'_>) -> bool {
    sockopt::socket_type(descriptor) == Ok(SocketType::SEQPACKET)
}

/// Sends one packet. Never raises SIGPIPE.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    rustix::io::retry_on_intr(|| {
        sendmsg(
            socket,
            &[IoSlice::new(bytes)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        )
    })?;
    Ok(())
}

/// Receives one packet; `None` when the other side is gone.
///
/// # Errors
///
/// `WouldBlock` if there is none and `wait` is false.
pub(crate) fn receive<const N: usize>(
    socket: BorrowedFd<'_>,
    wait: bool,
) -> io::Result<Option<Packet<N>>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; N];
    let mut flags = RecvFlags::CMSG_CLOEXEC;
    flags.set(RecvFlags::DONTWAIT, !wait);
    let mut receive = || {
        rustix::io::retry_on_intr(|| {
            let mut parts = [IoSliceMut::new(&mut bytes)];
            recvmsg(socket.as_fd(), &mut parts, &mut ancillary, flags)
        })
    };
    let received = match receive() {
        // A peer that died with unread packets resets the connection, which is told once and
        // before what it has sent.
        Err(rustix::io::Errno::CONNRESET) => receive()?,
        received => received?,
    };
    if received.bytes == 0 {
        return Ok(None);
    }
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok(Some(Packet { bytes, descriptors }))
}
