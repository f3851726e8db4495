//! `tenement-park FLAG PATH ARGV0 ARGS…`: becomes the program PATH, at once or at the first request.
//!
//! ```text
//! FLAG is not there, or a connection waits on fd 3 ──► execve(PATH)
//! else: STATUS=parked… ──► poll(fd 3) ──► STATUS= ──► execve(PATH)
//! ```
//!
//! systemd starts it in an instance's whole sandbox, with the listening socket as fd 3 (sd_listen_fds(3)).
//! Waking the instance then costs one execve and no work of systemd's. The process id stays the same, so
//! `LISTEN_PID` does too. Whoever makes FLAG asks for one start to be parked, which takes FLAG away: a start
//! by hand and one after a crash find none, and are starts of the app.
//!
//! A unit that does not pass `LISTEN_FDS` on has a trigger as fd 3, which the app must not see.
//!
//! It is resident by the thousand, so it has no libc, no heap and no data: a page of code, one of stack.

#![no_std]
#![no_main]

mod sys;

use tenement_park::{Address, reason, value};

/// The first descriptor that systemd passes (sd_listen_fds(3)).
const LISTENER: i32 = 3;
/// What the agent knows a parked instance by.
const PARKED: &[u8] = b"STATUS=parked: waits for a request";
const WOKEN: &[u8] = b"STATUS=";
/// What systemd itself reports for that (systemd.exec(5), EXIT_EXEC).
const EXIT_EXEC: i32 = 203;

/// The first and the last function: `stack` is where the kernel put the arguments.
///
/// # Safety
/// `stack` must point to argc, argv and envp as the kernel lays them out for a new program.
unsafe extern "C" fn begin(stack: *const usize) -> ! {
    // SAFETY: argc lies at the bottom, then argc pointers and a null pointer, then the environment.
    let (count, argv) = unsafe { (*stack, stack.add(1).cast::<*const u8>()) };
    // SAFETY: as above.
    let envp = unsafe { argv.add(count + 1) };
    if count < 4 {
        sys::complain(
            b"tenement-park: started by units only, as: tenement-park FLAG PATH ARGV0 ARGS...\n",
        );
        sys::exit(2);
    }
    // SAFETY: there are four arguments at least.
    let (flag, path) = unsafe { (*argv.add(1), *argv.add(2)) };
    // SAFETY: the kernel's arguments are C strings.
    let asked = unsafe { sys::take_file(flag) };
    // SAFETY: `envp` is the kernel's.
    if unsafe { find(envp, b"LISTEN_FDS") }.is_none() {
        sys::close_on_exec(LISTENER);
    }
    if asked && !sys::is_ready(LISTENER, false) {
        let mut systemd = Address::none();
        // SAFETY: `envp` is the kernel's.
        if let Some(name) = unsafe { find(envp, b"NOTIFY_SOCKET") } {
            systemd.set(name);
        }
        sys::send(&systemd, PARKED);
        sys::is_ready(LISTENER, true);
        sys::send(&systemd, WOKEN);
    }
    // SAFETY: all three are the kernel's, and argv still ends with its null pointer.
    let error = unsafe { sys::execute(path, argv.add(3), envp) };
    sys::complain(b"tenement-park: ");
    // SAFETY: the kernel's arguments are C strings.
    sys::complain(unsafe { text(path) });
    sys::complain(b" cannot be executed: ");
    sys::complain(reason(error).as_bytes());
    sys::complain(b"\n");
    sys::exit(EXIT_EXEC)
}

/// The value of an environment variable.
///
/// # Safety
/// `envp` must be an array of C strings that ends with a null pointer, and stay so.
unsafe fn find(mut envp: *const *const u8, variable: &[u8]) -> Option<&'static [u8]> {
    loop {
        // SAFETY: the null pointer that ends the array has not been passed.
        let entry = unsafe { *envp };
        if entry.is_null() {
            return None;
        }
        // SAFETY: it is one of the C strings.
        if let Some(found) = value(unsafe { text(entry) }, variable) {
            return Some(found);
        }
        // SAFETY: at most the null pointer is next.
        envp = unsafe { envp.add(1) };
    }
}

/// The bytes of a C string.
///
/// # Safety
/// `start` must be one that lives as long as this process.
unsafe fn text(start: *const u8) -> &'static [u8] {
    let mut len = 0;
    // SAFETY: every byte up to the NUL is part of the string.
    while core::hint::black_box(unsafe { *start.add(len) }) != 0 {
        len += 1;
    }
    // SAFETY: `len` bytes were just read.
    unsafe { core::slice::from_raw_parts(start, len) }
}

/// Nothing here panics; the language wants to know what would happen.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    sys::exit(101)
}
