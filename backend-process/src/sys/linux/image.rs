//! [`Image`]: where the main executable lies in memory, and what identifies it.

use std::ffi::{c_int, c_void};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

/// The main executable of this process.
#[derive(Debug)]
pub(crate) struct Image {
    /// The addresses of its code.
    code: Vec<Range<usize>>,
    /// The table of functions that run before `main`.
    pub(super) constructors: Range<usize>,
    /// The contents of its notes, the build id among them.
    notes: Vec<u8>,
}

impl Image {
    /// The image of this process, looked up once.
    pub(crate) fn main() -> &'static Self {
        static IMAGE: OnceLock<Image> = OnceLock::new();
        IMAGE.get_or_init(Self::look_up)
    }

    /// Whether the address is code of the main executable.
    #[inline]
    pub(crate) fn contains(&self, address: usize) -> bool {
        self.code.iter().any(|range| range.contains(&address))
    }

    /// How far the address lies from the first code of the executable.
    pub(crate) fn offset_of(&self, address: usize) -> usize {
        let start = self.code.first().map_or(0, |range| range.start);
        address.wrapping_sub(start)
    }

    /// A number that differs between executables: of the file (device, inode, size, time)
    /// and of the notes that the linker wrote.
    pub(crate) fn identity(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.notes.hash(&mut hasher);
        if let Ok(file) = std::fs::metadata("/proc/self/exe") {
            let place = (file.dev(), file.ino(), file.size());
            (place, file.mtime(), file.mtime_nsec()).hash(&mut hasher);
        }
        hasher.finish()
    }

    fn look_up() -> Self {
        let mut image = Self {
            code: Vec::new(),
            constructors: 0..0,
            notes: Vec::new(),
        };
        // SAFETY: the callback has the right type and takes the pointer as the `Image`
        // that it is; the call ends before `image` is used again.
        unsafe { libc::dl_iterate_phdr(Some(visit_first), (&raw mut image).cast()) };
        image
    }

    fn add_segment(&mut self, header: &libc::Elf64_Phdr, base: usize) {
        let start = base + header.p_vaddr as usize;
        let range = start..start + header.p_memsz as usize;
        match header.p_type {
            libc::PT_LOAD if header.p_flags & libc::PF_X != 0 => self.code.push(range),
            libc::PT_NOTE => {
                // SAFETY: the loader mapped the segment readable and keeps it so.
                let notes = unsafe { std::slice::from_raw_parts(start as *const u8, range.len()) };
                self.notes.extend_from_slice(notes);
            }
            libc::PT_DYNAMIC => self.constructors = find_constructors(range, base),
            _ => {}
        }
    }
}

/// Called for each image by the loader, the main executable first.
unsafe extern "C" fn visit_first(
    info: *mut libc::dl_phdr_info,
    _: libc::size_t,
    image: *mut c_void,
) -> c_int {
    // SAFETY: the loader passes a valid description.
    let info = unsafe { &*info };
    // SAFETY: `look_up` passes its `Image`, which nobody else uses meanwhile.
    let image = unsafe { &mut *image.cast::<Image>() };
    // SAFETY: so says the description.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    for header in headers {
        image.add_segment(header, info.dlpi_addr as usize);
    }
    1
}

/// The table of constructors, from the dynamic section.
fn find_constructors(dynamic: Range<usize>, base: usize) -> Range<usize> {
    const DT_INIT_ARRAY: usize = 25;
    const DT_INIT_ARRAYSZ: usize = 27;
    let entries = dynamic.len() / size_of::<[usize; 2]>();
    // SAFETY: the segment is an array of pairs of words, readable while the program runs.
    let entries =
        unsafe { std::slice::from_raw_parts(dynamic.start as *const [usize; 2], entries) };
    let value_of = |tag| {
        let entry = entries.iter().find(|[this, _]| *this == tag);
        entry.map_or(0, |[_, value]| *value)
    };
    match value_of(DT_INIT_ARRAY) {
        0 => 0..0,
        table => base + table..base + table + value_of(DT_INIT_ARRAYSZ),
    }
}
