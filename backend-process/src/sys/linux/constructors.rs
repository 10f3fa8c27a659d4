//! The functions that run before `main`.

use std::ffi::{c_char, c_int};

use super::Image;

type Constructor = extern "C" fn(c_int, *const *const c_char, *const *const c_char);

/// Calls the constructors of the main executable that come after `this` one.
///
/// What they set up (registries, C++ statics) is then there for tasks, as it would be in
/// `main`. In a static executable the table cannot be found, and they do not run.
pub(crate) fn run_constructors_after(
    this: Constructor,
    num_arguments: c_int,
    arguments: *const *const c_char,
    environment: *const *const c_char,
) {
    let table = Image::main().constructors.clone();
    let count = table.len() / size_of::<usize>();
    if count == 0 {
        return;
    }
    // SAFETY: the table is an array of addresses, relocated before any of them is called.
    let addresses = unsafe { std::slice::from_raw_parts(table.start as *const usize, count) };
    let after = addresses
        .iter()
        .skip_while(|at| **at != this as usize)
        .skip(1);
    for &address in after {
        if Image::main().contains(address) {
            // SAFETY: the loader would call this address with these arguments next.
            let constructor = unsafe { std::mem::transmute::<usize, Constructor>(address) };
            constructor(num_arguments, arguments, environment);
        }
    }
}
