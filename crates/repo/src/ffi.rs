//! The one module with `unsafe`: libgit2's process-global options, and the allocator's.
//!
//! They are plain setters, but not thread safe against running operations, and two of them have no wrapper in `git2`. [`crate::init`] calls
//! [`configure`] at most once, before any repository is opened by this crate.
#![allow(unsafe_code)]

use std::os::raw::c_int;

use crate::{RepoError, Settings, maps};

/// Serialises concurrent first calls.
static LOCK: std::sync::Mutex<bool> = std::sync::Mutex::new(false);

/// Whether somebody chose the certificate authorities: a CA file or OpenSSL's variables.
static CHOSEN: std::sync::OnceLock<bool> = std::sync::OnceLock::new();

pub(crate) fn configure(settings: &Settings) -> Result<(), RepoError> {
    let mut done = LOCK.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if *done {
        return Ok(());
    }
    let fail = |source| RepoError::git("setting libgit2's options", source);
    let millis = |d: std::time::Duration| c_int::try_from(d.as_millis()).unwrap_or(c_int::MAX);
    // Before `git2` starts libgit2 and points OpenSSL to the system's authorities: reading a few hundred certificates takes 10 ms and stays in
    // memory, and most processes never talk to an HTTPS remote. See `trust_system`.
    let chosen = settings.ca_file.is_some() || openssl_probe::has_ssl_cert_env_vars();
    libgit2_sys::init();
    let _ = CHOSEN.set(chosen);
    // SAFETY: nothing else in this process uses libgit2 yet (this crate is its only user and every entry point needs `init` first), and the
    // lock above keeps two initialisers apart.
    unsafe {
        git2::opts::set_server_connect_timeout_in_milliseconds(millis(settings.connect_timeout)).map_err(fail)?;
        git2::opts::set_server_timeout_in_milliseconds(millis(settings.io_timeout)).map_err(fail)?;
        // The user check is ours (`Repo::open`): libgit2's only reads global configuration, which a container does not have.
        git2::opts::set_verify_owner_validation(false).map_err(fail)?;
        git2::opts::set_mwindow_mapped_limit(settings.window_bytes).map_err(fail)?;
        git2::opts::set_mwindow_size(1 << 20).map_err(fail)?;
        git2::opts::set_cache_max_size(isize::try_from(settings.cache_bytes).unwrap_or(isize::MAX)).map_err(fail)?;
        if let Some(file) = &settings.ca_file {
            git2::opts::set_ssl_cert_file(file).map_err(fail)?;
        }
        if let (Some(home), Some(_)) = (&settings.home, &settings.known_hosts)
            && let Ok(home) = std::ffi::CString::new(home.as_os_str().as_encoded_bytes())
        {
            // libgit2 copies the string.
            libgit2_sys::git_libgit2_opts(libgit2_sys::GIT_OPT_SET_HOMEDIR as c_int, home.as_ptr());
        }
        // Off by default in libgit2; covers loose objects, packs and refs. No wrapper in git2.
        libgit2_sys::git_libgit2_opts(libgit2_sys::GIT_OPT_ENABLE_FSYNC_GITDIR as c_int, 1 as c_int);
    }
    *done = true;
    Ok(())
}

/// Makes OpenSSL trust the system's certificate authorities, unless others were chosen. Comes before the first connection that may need them.
pub(crate) fn trust_system() {
    static DONE: std::sync::Once = std::sync::Once::new();
    DONE.call_once(|| {
        if CHOSEN.get().copied().unwrap_or(true) {
            return;
        }
        let found = openssl_probe::probe();
        // SAFETY: OpenSSL's store has a lock of its own, and no connection that would look into it is open yet: each waits for this call.
        // Without authorities every certificate is refused, and that error says so.
        let trusted = unsafe {
            match (&found.cert_file, &found.cert_dir) {
                (Some(file), _) => git2::opts::set_ssl_cert_file(file),
                (None, Some(folder)) => git2::opts::set_ssl_cert_dir(folder),
                (None, None) => Ok(()),
            }
        };
        if let Err(error) = trusted {
            tracing::warn!(%error, "cannot read the system's certificate authorities; give a CA file");
        }
    });
}

/// Gives memory that was freed back to the system: after a large checkout the allocator would otherwise hold on to it for ever.
pub(crate) fn release_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no preconditions; it only walks the allocator's own lists, under its locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// One heap for all threads. By itself the allocator makes one for each that is ever in another's way, and each keeps what its thread once needed.
pub(crate) fn one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: a plain setter under the allocator's own lock.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Lets go of the pages of the program's own file, and of libraries it is linked with, that were brought in to start and to work: the kernel maps sixteen for each that is touched.
/// They stay in the page cache, from where those that are used again come back without reading.
pub(crate) fn release_program() {
    let (Ok(program), Ok(maps)) = (std::fs::read_link("/proc/self/exe"), std::fs::read_to_string("/proc/self/smaps"))
    else {
        return;
    };
    for range in maps::unchanged(&maps, program.as_os_str()) {
        let length = range.end - range.start;
        // SAFETY: a part of the program or of a linked library as it was loaded, which stays where it is for as long as the process lives; private, not writable and
        // without a page that differs from the file (relocated data, a debugger's breakpoints), so that the file has everything that is dropped.
        unsafe {
            libc::madvise(std::ptr::with_exposed_provenance_mut(range.start), length, libc::MADV_DONTNEED);
        }
    }
}

/// Sends what is written to a connection at once, on every TCP connection of this process; a hint, nothing depends on it.
///
/// Libgit2 sends a push in many small pieces, and neither asks for this nor tells its socket: each time the system waits for an acknowledgement that
/// the other side holds back for 40 ms.
pub(crate) fn send_at_once() {
    for entry in std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten() {
        let Some(fd) = entry.file_name().to_str().and_then(|name| name.parse::<c_int>().ok()) else { continue };
        let on: c_int = 1;
        // SAFETY: the kernel reads one integer before it returns. What is no TCP socket, or was closed meanwhile, is refused.
        unsafe {
            let (value, size) = ((&raw const on).cast(), size_of::<c_int>() as libc::socklen_t);
            libc::setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, value, size);
        }
    }
}

/// Whether anybody has this file open for writing, by the kernel's own count: a read lease is granted only when nobody has. Nothing when the
/// file system or the owner of the file does not allow the question. The descriptor must be open for reading only.
pub(crate) fn has_writer(file: &std::fs::File) -> Option<bool> {
    use std::os::fd::AsRawFd;
    /// Which signal tells of a lease (fcntl.h); the libc crate does not have it.
    const F_SETSIG: c_int = 10;
    let fd = file.as_raw_fd();
    // SAFETY: plain fcntl calls on a descriptor that `file` keeps open. A writer that comes while we hold the lease waits for microseconds and
    // makes the kernel signal us: with SIGURG, which is ignored by default, in the place of SIGIO, which would end the process.
    unsafe {
        if libc::fcntl(fd, F_SETSIG, libc::SIGURG) != 0 {
            return None;
        }
        if libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) == 0 {
            libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK);
            return Some(false);
        }
    }
    (std::io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN)).then_some(true)
}
