//! Functions as they travel: offsets from an anchor in the main executable.
//!
//! Pool and worker are the same executable, so the distance between two of its functions
//! is the same in both, wherever each of them was loaded. A function of a shared library
//! has no such distance; it is refused before it is sent.

use std::sync::OnceLock;

use taskfarm_core::remote::Function;

use crate::sys::Image;

/// The offset that says "no function here".
const NONE: i64 = i64::MIN;

/// The place that offsets are measured from.
#[inline(never)]
fn anchor() -> usize {
    anchor as fn() -> usize as usize
}

/// The anchor, if it lies in the main executable.
fn base() -> Option<usize> {
    static BASE: OnceLock<Option<usize>> = OnceLock::new();
    *BASE.get_or_init(|| Some(anchor()).filter(|anchor| Image::main().contains(*anchor)))
}

/// Whether this crate is part of the main executable, and not of a library in it.
pub(crate) fn is_in_executable() -> bool {
    base().is_some()
}

/// How the function is told to a worker; an error says why it cannot be.
pub(crate) fn offsets(function: &Function) -> Result<[i64; 4], &'static str> {
    let base = base().ok_or(
        "taskfarm-process is part of a shared library; worker processes run only functions of \
         the main executable",
    )?;
    let mut offsets = [NONE; 4];
    for (offset, address) in offsets.iter_mut().zip(function.addresses()) {
        if address == 0 {
            continue;
        }
        if !Image::main().contains(address) {
            return Err(
                "the function is part of a shared library; worker processes run only functions \
                 of the main executable",
            );
        }
        *offset = address.wrapping_sub(base).cast_signed() as i64;
    }
    Ok(offsets)
}

/// The function behind these offsets, if they lead into the main executable.
pub(crate) fn function(offsets: [i64; 4]) -> Option<Function> {
    let base = base()?;
    let mut addresses = [0; 4];
    for (address, offset) in addresses.iter_mut().zip(offsets) {
        if offset != NONE {
            *address = base.wrapping_add_signed(offset as isize);
            if !Image::main().contains(*address) {
                return None;
            }
        }
    }
    if addresses[0] == 0 {
        return None;
    }
    // SAFETY: the offsets came over a lane from the pool that started this process from its
    // own executable (the handshake has compared identities), which took them from the
    // addresses of a `Function`; they were moved with the image.
    Some(unsafe { Function::from_addresses(addresses) })
}

/// What pool and worker must agree upon: the executable, and where the anchor lies in it.
pub(crate) fn identity() -> [u64; 2] {
    let image = Image::main();
    let anchor = base().map_or(0, |base| image.offset_of(base) as u64);
    [image.identity(), anchor]
}
